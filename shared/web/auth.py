"""Authentication in views: each service verifies the access token itself instead of trusting the gateway."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from flask import g, request

from shared.identity.access_tokens import Verifier
from shared.identity.claims import Claims
from shared.identity.credentials import identify
from shared.identity.csrf import Csrf
from shared.problems import Problem
from shared.service import current_service
from shared.web import html_forms

View = TypeVar("View", bound=Callable[..., Any])


def current_user() -> Claims | None:
    """Return the claims of the user, None for an anonymous client; raise UNAUTHORIZED for a bad bearer token."""
    if "postern_claims" not in g:
        verifier: Verifier = current_service().get(Verifier)
        csrf: Csrf = current_service().get(Csrf)
        field = html_forms.csrf_field if html_forms.is_taken() else None
        g.postern_claims, g.postern_refusal = identify(request.environ, verifier.verify, csrf, field)
        if g.postern_claims:
            request.environ["postern.user"] = g.postern_claims.user_id
    return cast(Claims | None, g.postern_claims)


def require_user(role: str = "user") -> Claims:
    """Return the user's claims; raise UNAUTHORIZED for an anonymous client, FORBIDDEN below the role."""
    claims = current_user()
    if claims is None:
        raise g.postern_refusal or Problem("UNAUTHORIZED")
    if not claims.has_role(role):
        raise Problem("FORBIDDEN", f"This needs the role {role}.")
    return claims


def signed_in(role: str = "user") -> Callable[[View], View]:
    """Require that role or a higher one for a view, also in its OpenAPI description."""

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
