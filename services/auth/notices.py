"""What users are told by mail when something happens to their account; called inside its transaction."""

from services.auth.models import User


def invite(user: User) -> None:
    """Ask a user who was made without a password to set one."""


def password_changed(user: User) -> None:
    """Tell a user that their password was changed, in case it was somebody else."""
