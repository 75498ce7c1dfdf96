"""Register, log in, refresh, log out."""

from typing import Any, NamedTuple

from flask import Response, after_this_request, request

from services.auth import accounts, cookies, passwords, sessions, signin_sources
from services.auth.access_tokens import issue_access_token
from services.auth.account_mail import AccountMailer
from services.auth.audit_log import audit
from services.auth.config import Config
from services.auth.cookies import REFRESH_COOKIE
from services.auth.models import Session, User, database
from services.auth.revocation import end_sessions_here
from services.auth.schemas import (
    LoginSchema,
    RefreshSchema,
    RegisterSchema,
    RegistrationSchema,
    SigninSchema,
    user_item,
)
from services.auth.sessions import Signin
from shared import clock
from shared.client_address import client_address
from shared.database.disk_reserve import signs_in
from shared.identity.claims import LIFETIME
from shared.identity.credentials import cookie_value, csrf_cookie
from shared.identity.csrf import Csrf
from shared.problems import Problem
from shared.server.admission import expensive
from shared.service import current_service
from shared.web import html_forms
from shared.web.auth import require_user
from shared.web.blueprint import Blueprint
from shared.web.responses import no_content, respond
from shared.web.schema import EmptySchema

blp = Blueprint("signin", __name__, url_prefix="/api/auth", description="Register, log in, refresh, log out")


@blp.route("/register", methods=["POST"])
@blp.problems("EMAIL_TAKEN")
@expensive
@blp.arguments(RegisterSchema, location="json_or_form")
@blp.response(201, RegistrationSchema)
def register(data: dict[str, Any]) -> Response:
    """Create an account, mail a verification link, and sign in unless verification is required first."""
    config: Config = current_service().get(Config)
    mails: AccountMailer = current_service().get(AccountMailer)
    passwords.check_new(data["password"], data["name"], data["email"])
    if User.by_email(data["email"]):  # before the hash is worked for; two at once are told apart by the database
        raise Problem("EMAIL_TAKEN")
    password_hash = passwords.hash_password(data["password"])
    with database.atomic():
        user = accounts.register(data["name"], data["email"], password_hash)
        audit("registered", user.id)
        mails.write_first_link(user)
        entry = None if config.needs_verification else _enter(user)
    return _welcome(entry, 201) if entry else respond({"user": user_item(user)}, 201)


@blp.route("/login", methods=["POST"])
@blp.problems("INVALID_CREDENTIALS", "EMAIL_NOT_VERIFIED", "ACCOUNT_SUSPENDED")
@expensive
@signs_in
@blp.arguments(LoginSchema, location="json_or_form")
@blp.response(200, SigninSchema)
def login(data: dict[str, Any]) -> Response:
    """Sign in; `rememberMe` makes the session last longer and sets cookies, `cookieOnly` sends the tokens in them only.

    A plain HTML form always gets cookies. The previous session of the browser's cookies ends.
    """
    config: Config = current_service().get(Config)
    user = accounts.check_password(data["email"], data["password"])
    if config.needs_verification and not user.email_verified:
        raise Problem("EMAIL_NOT_VERIFIED")
    accounts.renew_hash(user, data["password"])
    with database.atomic():
        user = accounts.note_login(user)
        entry = _enter(user, remember=data["remember_me"], cookie_only=data["cookie_only"])
        audit("login", user.id, session=entry.signin.session.id)
    return _welcome(entry)


@blp.route("/refresh", methods=["POST"])
@blp.problems("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED", "ACCOUNT_SUSPENDED", "CSRF_FAILED")
@signs_in
@blp.arguments(RefreshSchema)
@blp.response(200, SigninSchema)
def refresh(data: dict[str, Any]) -> Response:
    """Rotate the refresh token of the body or the cookie, and return a new access token."""
    cookie = _refresh_cookie()
    token = data.get("refresh_token", cookie)
    if token == cookie and cookies.are_sent(request.headers.get("Cookie", "")):
        after_this_request(_clear_refused)
    if not token:
        raise Problem("UNAUTHORIZED", f"There is no refresh token in the body, and no cookie {REFRESH_COOKIE}.")
    if "refresh_token" not in data:
        _csrf().check(request.environ, sessions.session_of(token), csrf_cookie(request.environ))
    signin = sessions.continue_session(token)
    return _signed_in(signin, in_cookies=token == cookie or signin.session.cookie_only)


@blp.route("/logout", methods=["POST"])
@blp.problems("UNAUTHORIZED", "TOKEN_EXPIRED", "TOKEN_REVOKED")
@blp.doc(security=[{"bearer": []}])
@blp.arguments(EmptySchema, location="json_or_form")
@blp.response(204)
def logout(_data: dict[str, Any]) -> Response:
    """End this session and clear the cookies; other services apply it within two seconds.

    If the access token has expired, a valid refresh cookie identifies the session.
    """
    (user_id, session_id), now = own_session(), clock.now()
    with database.atomic():
        if Session.end(session_id, now):
            audit("logout", user_id, session=session_id)
    end_sessions_here([session_id], now)
    return cookies.forget(no_content())


class Entry(NamedTuple):
    """A new sign-in; `ended` is the id of the previous session of the browser, which was revoked."""

    signin: Signin
    in_cookies: bool
    device: str
    ended: str | None


def _enter(user: User, *, remember: bool = False, cookie_only: bool = False) -> Entry:
    """Open a session and revoke the previous session of the browser's cookies; call it inside a transaction."""
    in_cookies = remember or cookie_only or html_forms.redirects()
    user_agent, address = request.headers.get("User-Agent", ""), client_address(request.environ)
    signin = sessions.open_session(user, remember, cookie_only, user_agent, address)
    device = signin_sources.note_source(user.id, browser=in_cookies)
    before = _session_of_cookies()
    if before and Session.end(before.id, signin.issued_at):
        audit("logout", before.user_id, session=before.id)
    return Entry(signin, in_cookies, device, before.id if before else None)


def _session_of_cookies() -> Session | None:
    try:
        return sessions.running_session(_refresh_cookie())
    except Problem:
        return None


def _welcome(entry: Entry, status: int = 200) -> Response:
    response = _signed_in(entry.signin, status, in_cookies=entry.in_cookies)
    if entry.ended:
        end_sessions_here([entry.ended], entry.signin.issued_at)
        if not entry.in_cookies:
            cookies.clear(response)
    return cookies.keep_device(response, entry.device) if entry.device else response


def _signed_in(signin: Signin, status: int = 200, *, in_cookies: bool) -> Response:
    session = signin.session
    access_token = issue_access_token(signin.user, session.id, signin.issued_at)
    data = {"user": user_item(signin.user), "expiresIn": LIFETIME}
    if not session.cookie_only:
        data |= {"accessToken": access_token, "refreshToken": signin.refresh_token, "tokenType": "Bearer"}
    response = respond(data, status, {"Cache-Control": "private, no-store"})
    if in_cookies:
        csrf_token = _csrf().token(session.id)
        cookies.keep(response, access_token, signin.refresh_token, csrf_token, remember=session.remember)
    return response


def own_session() -> tuple[str, str]:
    """Return user and session ids of the access token; if it has expired or is missing, of the refresh cookie."""
    try:
        caller = require_user()
    except Problem as problem:
        was_sent = "Authorization" in request.headers
        if problem.status != 401 or (was_sent and problem.code != "TOKEN_EXPIRED"):
            raise
        session = _session_of_cookies()
        if session is None:
            raise
        field = html_forms.csrf_field if html_forms.is_taken() else None
        _csrf().check(request.environ, session.id, csrf_cookie(request.environ), field)
        return session.user_id, session.id
    return caller.user_id, caller.session_id


def _refresh_cookie() -> str:
    return cookie_value(request.headers.get("Cookie", ""), REFRESH_COOKIE)


def _clear_refused(response: Response) -> Response:
    """Clear the cookies with a 401, since they belong to no active session."""
    return cookies.clear(response) if response.status_code == 401 else response


def _csrf() -> Csrf:
    csrf: Csrf = current_service().get(Csrf)
    return csrf
