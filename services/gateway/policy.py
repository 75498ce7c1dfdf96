"""Decide who may pass; who somebody is, `shared.identity.credentials` finds out, the same way in every service."""

from services.gateway.routes import Who
from shared.identity.credentials import Identity
from shared.problems import Problem

RANKS = {"user": Who.USER, "moderator": Who.MODERATOR, "admin": Who.ADMIN}


def check_rights(who: Who, somebody: Identity | None, cookie_refusal: Problem | None) -> None:
    """Raise UNAUTHORIZED for a stranger where a user is needed, FORBIDDEN for too low a role.

    `cookie_refusal` is why a stranger's cookie proves nobody, which is raised in place of UNAUTHORIZED.
    """
    if who is Who.ALL:
        return
    if somebody is None:
        raise cookie_refusal or Problem("UNAUTHORIZED", "This needs a signed-in user.")
    if RANKS.get(somebody.role, Who.ALL) < who:
        raise Problem("FORBIDDEN", f"This needs the role {who.name.lower()}.")
