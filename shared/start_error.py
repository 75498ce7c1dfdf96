"""What keeps a service from starting."""


class StartError(Exception):
    """Something that whoever starts the services can put right; the text says how."""
