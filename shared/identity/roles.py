"""The roles of users, from the lowest to the highest; a higher one may do all that a lower one may."""

ROLES = USER, MODERATOR, ADMIN = "user", "moderator", "admin"


def includes(role: str, needed: str) -> bool:
    """Return whether the role is the needed one or a higher one; False for an unknown role."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
