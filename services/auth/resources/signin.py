"""Register, log in, refresh, log out."""

from typing import Any

from flask import Response, current_app, request

from services.auth import accounts, cookies, passwords, sessions
from services.auth.auditing import audit
from services.auth.config import Config
from services.auth.cookies import REFRESH_COOKIE
from services.auth.mail import Mails
from services.auth.models import Session, User, database
from services.auth.revoking import end_sessions_here
from services.auth.schemas import LoginSchema, RefreshSchema, RegisterSchema, SigninSchema, user_item
from services.auth.sessions import Signin
from services.auth.tokens import issue_access_token
from shared import clock
from shared.addresses import client_address
from shared.api import Blueprint, NothingSchema, no_content, respond
from shared.auth import require_user, signed_in
from shared.credentials import cookie_value, csrf_cookie
from shared.csrf import Csrf
from shared.problems import Problem
from shared.tokens import LIFETIME
from shared.workers.admission import expensive

blp = Blueprint("signin", __name__, url_prefix="/api/auth", description="Register, log in, refresh, log out")


@blp.route("/register", methods=["POST"])
@expensive
@blp.arguments(RegisterSchema, location="json_or_form")
@blp.response(201, SigninSchema)
def register(data: dict[str, Any]) -> Response:
    """Make an account, mail a link to verify the address, and sign in where that does not have to come first."""
    config: Config = current_app.extensions["postern.config"]
    mails: Mails = current_app.extensions["postern.mails"]
    passwords.check_new(data["password"], data["name"], data["email"])
    if User.by_email(data["email"]):  # before the hash is worked for; two at once are told apart by the database
        raise Problem("EMAIL_TAKEN")
    password_hash = passwords.hash_password(data["password"])
    with database.atomic():
        user = accounts.register(data["name"], data["email"], password_hash)
        audit("registered", user.id)
        mails.write_first_link(user)
        signin = None if config.needs_verification else _open_session(user, remember=False)
    return _signed_in(signin, 201) if signin else respond({"user": user_item(user)}, 201)


@blp.route("/login", methods=["POST"])
@expensive
@blp.arguments(LoginSchema, location="json_or_form")
@blp.response(200, SigninSchema)
def login(data: dict[str, Any]) -> Response:
    """Sign in; `rememberMe` makes the session last longer and sets cookies."""
    config: Config = current_app.extensions["postern.config"]
    user = accounts.check_password(data["email"], data["password"])
    if config.needs_verification and not user.email_verified:
        raise Problem("EMAIL_NOT_VERIFIED")
    accounts.renew_hash(user, data["password"])
    with database.atomic():
        user = accounts.note_login(user)
        signin = _open_session(user, data["remember_me"])
        audit("login", user.id, session=signin.session_id)
    return _signed_in(signin, remember=data["remember_me"])


@blp.route("/refresh", methods=["POST"])
@blp.arguments(RefreshSchema)
@blp.response(200, SigninSchema)
def refresh(data: dict[str, Any]) -> Response:
    """Replace a refresh token, of the body or the cookie, and get a new access token."""
    cookie = cookie_value(request.headers.get("Cookie", ""), REFRESH_COOKIE)
    token = data.get("refresh_token", cookie)
    if not token:
        raise Problem("UNAUTHORIZED", f"There is no refresh token in the body, and no cookie {REFRESH_COOKIE}.")
    if "refresh_token" not in data:
        _csrf().check(request.environ, sessions.session_of(token), csrf_cookie(request.environ))
    return _signed_in(sessions.continue_session(token), remember=token == cookie)


@blp.route("/logout", methods=["POST"])
@signed_in()
@blp.arguments(NothingSchema, location="json_or_form")
@blp.response(204)
def logout(_data: dict[str, Any]) -> Response:
    """End this session, here at once and everywhere else by the feed, and clear the cookies."""
    caller, now = require_user(), clock.now()
    with database.atomic():
        if Session.end(caller.session_id, now):
            audit("logout", caller.user_id, session=caller.session_id)
    end_sessions_here([caller.session_id], now)
    return cookies.forget(no_content())


def _open_session(user: Any, remember: bool) -> Signin:
    return sessions.open_session(user, remember, request.headers.get("User-Agent", ""), client_address(request.environ))


def _signed_in(signin: Signin, status: int = 200, *, remember: bool = False) -> Response:
    access_token = issue_access_token(signin.user, signin.session_id, signin.issued_at)
    data = {
        "user": user_item(signin.user),
        "accessToken": access_token,
        "refreshToken": signin.refresh_token,
        "tokenType": "Bearer",
        "expiresIn": LIFETIME,
    }
    response = respond(data, status, {"Cache-Control": "private, no-store"})
    if remember:
        cookies.remember(response, access_token, signin.refresh_token, _csrf().token(signin.session_id))
    return response


def _csrf() -> Csrf:
    csrf: Csrf = current_app.extensions["postern.csrf"]
    return csrf
