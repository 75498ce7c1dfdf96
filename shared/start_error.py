"""What keeps a service from starting."""

EXIT_CODE = 2  # of a process that could not start: to start it again is of no use


class StartError(Exception):
    """Something that whoever starts the services can put right; the text says how."""
