"""The roles of users, from the lowest to the highest; a higher one may do all that a lower one may."""

ROLES = USER, MODERATOR, ADMIN = "user", "moderator", "admin"


def includes(role: str, needed: str) -> bool:
    """Tell whether somebody of this role may do what the needed role may; an unknown role may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)
