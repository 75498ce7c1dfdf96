"""Tell views who is asking, checked again in every service rather than believed of the gateway."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, request

from shared import clock, forms
from shared.credentials import identify
from shared.csrf import Csrf
from shared.env import BaseConfig
from shared.internal import BATCH
from shared.problems import Problem
from shared.readers import PAUSE, RETRY, MemoryReader
from shared.tokens import LIFETIME, Claims, Jwks, KeySet, Revocations, Verifier

JWKS_PATH = "/.well-known/jwks.json"
LOOK_BACK = LIFETIME + 5 * 60
View = TypeVar("View", bound=Callable[..., Any])


def init_app(app: Flask, config: BaseConfig, fetch_keys: Callable[[], Jwks]) -> Verifier:
    verifier = Verifier(KeySet(fetch_keys))
    csrf = Csrf(config.internal_token, config.public_url, config.cors_origins)
    app.extensions |= {"postern.verifier": verifier, "postern.csrf": csrf}
    return verifier


class RevocationReader(MemoryReader):
    """Follow what ends tokens early, from auth's feed into the memory of this process."""

    def __init__(self, auth_url: str, token: str, revocations: Revocations) -> None:
        handlers = {
            "session.revoked": self._end_session,
            "user.suspended": self._end_tokens,
            "user.role_changed": self._end_tokens,
            "user.deleted": self._end_tokens,
        }
        super().__init__("auth", auth_url, token, handlers, look_back=LOOK_BACK)
        self._revocations = revocations
        self._retry = PAUSE

    def start(self) -> None:
        self._revocations.expect_past()
        super().start()

    def read_batch(self) -> int:
        number = super().read_batch()
        if number < BATCH:
            self._revocations.past_is_known()
            self._retry = RETRY
        return number

    def _end_session(self, event: dict[str, Any]) -> None:
        self._revocations.end_session(event["subject"], clock.now().timestamp())

    def _end_tokens(self, event: dict[str, Any]) -> None:
        moment = datetime.fromisoformat(event["time"]).timestamp()
        self._revocations.end_tokens_before(event["subject"], moment, clock.now().timestamp())


def current_user() -> Claims | None:
    """Return the claims of the caller, None for a stranger; raise UNAUTHORIZED for a bad bearer token."""
    if "postern_claims" not in g:
        verifier: Verifier = current_app.extensions["postern.verifier"]
        csrf: Csrf = current_app.extensions["postern.csrf"]
        field = forms.csrf_field if forms.takes_form() else None
        g.postern_claims, g.postern_refusal = identify(request.environ, verifier.verify, csrf, field)
        if g.postern_claims:
            request.environ["postern.user"] = g.postern_claims.user_id
    return cast(Claims | None, g.postern_claims)


def require_user(role: str = "user") -> Claims:
    """Return the caller's claims; raise UNAUTHORIZED for a stranger, FORBIDDEN below the role."""
    claims = current_user()
    if claims is None:
        raise g.postern_refusal or Problem("UNAUTHORIZED")
    if not claims.has_role(role):
        raise Problem("FORBIDDEN", f"This needs the role {role}.")
    return claims


def signed_in(role: str = "user") -> Callable[[View], View]:
    """Let a view be used by that role and higher ones, and say so in its OpenAPI document."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            require_user(role)
            return view(*args, **kwargs)

        known = getattr(view, "_apidoc", {})
        manual = known.get("manual_doc", {}) | {"security": [{"bearer": []}]}
        checked._apidoc = {**known, "manual_doc": manual}  # type: ignore[attr-defined]
        return cast(View, checked)

    return decorate
