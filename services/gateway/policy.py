"""Decide who may pass; who somebody is, `shared.credentials` finds out, the same way in every service."""

from services.gateway.routes import Who
from shared.credentials import Identity
from shared.problems import Problem

RANKS = {"user": Who.USER, "moderator": Who.MODERATOR, "admin": Who.ADMIN}


def check_rights(who: Who, somebody: Identity | None) -> None:
    """Raise UNAUTHORIZED for a stranger where a user is needed, FORBIDDEN for too low a role."""
    if who is Who.ALL:
        return
    if somebody is None:
        raise Problem("UNAUTHORIZED", "This needs a signed-in user.")
    if RANKS.get(somebody.role, Who.ALL) < who:
        raise Problem("FORBIDDEN", f"This needs the role {who.name.lower()}.")
