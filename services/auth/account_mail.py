"""The texts of the mails of this service, and their single-use links."""

import hashlib
from datetime import timedelta
from secrets import token_urlsafe
from typing import NamedTuple

from services.auth.models import LinkRequest, MailToken, User, database, outbox
from shared import clock
from shared.database.locking import locking
from shared.mail.addresses import plain_email
from shared.problems import Problem
from shared.service import current_service

TOKEN_BYTES = 32
ONE_A_MINUTE = timedelta(minutes=1)
BATCH = 100


class MailLink(NamedTuple):
    """A kind of mailed link: its purpose, page, lifetime and mail text."""

    purpose: str
    page: str
    lifetime: timedelta
    subject: str
    text: str


VERIFY = MailLink(
    "verify",
    "/verify-email",
    timedelta(hours=24),
    "Confirm your email address",
    """Somebody, probably you, made an account with this address.

Confirm it within 24 hours:

{link}

If it was not you, ignore this mail.
""",
)
RESET = MailLink(
    "reset",
    "/reset-password",
    timedelta(hours=1),
    "Set a new password",
    """Somebody, probably you, asked to set a new password for the account with this address.

Set it within an hour:

{link}

If it was not you, ignore this mail: the password stays as it is.
""",
)
INVITE = MailLink(
    RESET.purpose,
    RESET.page,
    timedelta(hours=24),
    "Your new account",
    """An account with this address was made for you. Set its password within 24 hours:

{link}

Later, ask for another link as somebody who forgot the password.
""",
)
REQUESTED = {link.purpose: link for link in (VERIFY, RESET)}


class AccountMailer:
    """Write mails to the outbox; mails have no text from users, so that nobody can send spam through them."""

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url

    def write_link(self, user: User, link: MailLink) -> None:
        """Mail a link with a new token and store its SHA-256; call it inside a transaction."""
        token, now = token_urlsafe(TOKEN_BYTES), clock.now()
        MailToken.create(
            hash=_hash(token),
            user=user,
            purpose=link.purpose,
            email_folded=user.email_folded,
            expires_at=now + link.lifetime,
        )
        text = link.text.format(link=f"{self._base_url}{link.page}?token={token}")
        outbox.write(link.purpose, plain_email(user.email), link.subject, text, worth_sending=link.lifetime)

    def write_first_link(self, user: User) -> None:
        """Mail a new user the verification link; it counts towards the limit of one a minute."""
        LinkRequest.note(user.email, VERIFY.purpose, clock.now(), pending=False)
        self.write_link(user, VERIFY)

    def write_notice(self, kind: str, recipient: str, subject: str, text: str) -> None:
        outbox.write(kind, plain_email(recipient), subject, text.format(site=self._base_url))

    def answer_requests(self) -> None:
        """Mail the requested links to the addresses that have an account.

        It runs in a background thread, so that a request takes the same time for known and unknown addresses.
        """
        for request in list(LinkRequest.waiting(BATCH)):
            with database.atomic():
                if request.take():
                    self._answer(request)

    def _answer(self, request: LinkRequest) -> None:
        link = REQUESTED[request.purpose]
        user = locking(User.select().where(User.email_folded == request.email_folded)).first()
        if user and user.status != "suspended" and not (link is VERIFY and user.email_verified):
            self.write_link(user, link)


def ask_for_link(email: str, link: MailLink, *, limited: bool) -> None:
    """Queue a request to mail a link, rate-limited to one a minute per address and purpose."""
    with database.atomic():
        LinkRequest.note(email, link.purpose, clock.now(), pending=True, pause=ONE_A_MINUTE if limited else None)


def find_token(token: str, link: MailLink) -> MailToken:
    """Return the stored token with its user; raise LINK_EXPIRED for a used, expired or unknown token."""
    found: MailToken | None = MailToken.usable(_hash(token), link.purpose, clock.now()).first()
    if found is None:
        raise Problem("LINK_EXPIRED")
    return found


def take_token(token: MailToken) -> None:
    """Redeem a single-use token; raise LINK_EXPIRED if another request has. Call it first in the transaction."""
    if not (User.lock(token.user_id) and MailToken.take(token.hash)):
        raise Problem("LINK_EXPIRED")


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


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
    """Mail a user without a password a link to set one."""
    _mails().write_link(user, INVITE)


def password_changed(user: User) -> None:
    """Mail a security notice about a changed password and revoke the user's reset links."""
    MailToken.forget(user.id, RESET.purpose)
    _mails().write_notice("password_changed", user.email, *PASSWORD_CHANGED)


def email_changed(user: User, before: str) -> None:
    """Mail a security notice to the previous address and a verification link to the new one."""
    _mails().write_notice("email_changed", before, *EMAIL_CHANGED)
    _mails().write_link(user, VERIFY)


def refresh_token_reused(user: User) -> None:
    """Mail a security notice about a session that was revoked for refresh-token reuse."""
    _mails().write_notice("session_stolen", user.email, *SESSION_STOLEN)


def _mails() -> AccountMailer:
    mails: AccountMailer = current_service().get(AccountMailer)
    return mails
