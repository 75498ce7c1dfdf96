"""The services, one folder each, and how they are started together."""
