"""Mailed links: verify an address, reset a password."""

from typing import Any

from flask import Response

from services.auth import account_mail, accounts, passwords
from services.auth.account_mail import RESET, VERIFY, MailLink
from services.auth.audit_log import audit
from services.auth.config import Config
from services.auth.models import MailToken, Session, database
from services.auth.revocation import end_sessions_here
from services.auth.schemas import (
    EmailRequestSchema,
    MailTokenSchema,
    MessageSchema,
    PasswordResetSchema,
    VerifiedSchema,
)
from shared import clock
from shared.server.admission import expensive
from shared.service import current_service
from shared.web.blueprint import Blueprint
from shared.web.responses import no_content, respond

blp = Blueprint("links", __name__, url_prefix="/api/auth", description="Verify an address, set a forgotten password")

ON_ITS_WAY = "If the address has an account that needs it, a mail is on its way; at most one is sent a minute."


@blp.route("/verify-email", methods=["POST"])
@blp.problems("LINK_EXPIRED")
@blp.arguments(MailTokenSchema)
@blp.response(200, VerifiedSchema)
def verify_email(data: dict[str, Any]) -> Response:
    """Verify the address that the token was mailed to."""
    token = account_mail.find_token(data["token"], VERIFY)
    with database.atomic():
        account_mail.take_token(token)
        MailToken.forget(token.user_id, VERIFY.purpose)
        user = accounts.verify_email(token.user_id, token.email_folded)
    return respond({"email": user.email, "emailVerified": user.email_verified})


@blp.route("/verify-email/resend", methods=["POST"])
@blp.arguments(EmailRequestSchema)
@blp.response(202, MessageSchema)
def resend(data: dict[str, Any]) -> Response:
    """Mail another verification link, if the account exists and is not verified; the response is always the same."""
    return _ask_for(data["email"], VERIFY)


@blp.route("/forgot-password", methods=["POST"])
@blp.arguments(EmailRequestSchema)
@blp.response(202, MessageSchema)
def forgot_password(data: dict[str, Any]) -> Response:
    """Mail a password reset link, if the address has an account; the response is always the same."""
    return _ask_for(data["email"], RESET)


@blp.route("/reset-password", methods=["POST"])
@blp.problems("LINK_EXPIRED")
@expensive
@blp.arguments(PasswordResetSchema)
@blp.response(204)
def reset_password(data: dict[str, Any]) -> Response:
    """Set a new password, end all sessions, and mark the address as verified."""
    token = account_mail.find_token(data["token"], RESET)
    passwords.check_new(data["password"], token.user.name, token.user.email)
    password_hash = passwords.hash_password(data["password"])
    now = clock.now()
    with database.atomic():
        account_mail.take_token(token)
        accounts.set_password(token.user, password_hash)
        accounts.verify_email(token.user_id, token.email_folded)
        ended = Session.end_all(token.user_id, now)
        audit("password_changed", token.user_id, sessions=len(ended))
        account_mail.password_changed(token.user)
    end_sessions_here(ended, now)
    return no_content()


def _ask_for(email: str, link: MailLink) -> Response:
    config: Config = current_service().get(Config)
    account_mail.ask_for_link(email, link, limited=config.ratelimit_enabled)
    return respond({"message": ON_ITS_WAY}, 202)
