"""What users are told by mail when something happens to their account; called inside its transaction."""

from flask import current_app

from services.auth.account_mail import INVITE, RESET, VERIFY, Mails
from services.auth.models import MailToken, User

PASSWORD_CHANGED = (
    "Your password was changed",
    """The password of the account with this address was changed, and its other sessions were ended.

If it was not you, set a new password at once: {site}
""",
)
EMAIL_CHANGED = (
    "Your email address was changed",
    """The account that had this address has another one now. If you did not want that, ask for help: {site}
""",
)
SESSION_STOLEN = (
    "A session of yours was ended",
    """A token of one of your sessions was used twice, as it happens when somebody has copied it.
That session was ended.

Sign in again. If you do not know why this happened, set a new password too: {site}
""",
)


def invite(user: User) -> None:
    """Mail a user who was made without a password a link to set one."""
    _mails().write_link(user, INVITE)


def password_changed(user: User) -> None:
    """Tell a user that their password was changed, in case it was somebody else; links to set one end."""
    MailToken.forget(user.id, RESET.purpose)
    _mails().write_notice("password_changed", user.email, *PASSWORD_CHANGED)


def email_changed(user: User, before: str) -> None:
    """Tell the address that a user had before, and mail the new one a link to verify it."""
    _mails().write_notice("email_changed", before, *EMAIL_CHANGED)
    _mails().write_link(user, VERIFY)


def session_stolen(user: User) -> None:
    """Tell a user that a session was ended because its refresh token was used twice."""
    _mails().write_notice("session_stolen", user.email, *SESSION_STOLEN)


def _mails() -> Mails:
    mails: Mails = current_app.extensions["postern.mails"]
    return mails
