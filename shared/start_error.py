"""The error of a service that cannot start."""

EXIT_CODE = 2  # of a process that could not start: to start it again is of no use


class StartError(Exception):
    """A mistake that the operator can correct; the text says how."""
