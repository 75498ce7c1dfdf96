"""One blueprint for each noun."""
