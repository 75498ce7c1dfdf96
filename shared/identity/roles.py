"""The roles of users, from the lowest to the highest; a higher one may all that a lower one may."""

ROLES = ("user", "moderator", "admin")
