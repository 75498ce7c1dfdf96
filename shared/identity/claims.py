"""The claims of an access token, and its lifetime."""

from dataclasses import dataclass

from shared.identity.roles import includes

LIFETIME = 15 * 60  # seconds
LEEWAY = 60  # seconds that the clocks of two machines may differ
REMEMBERED = LIFETIME + 2 * LEEWAY  # seconds after its end for which a session's tokens may still seem to live


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an access token; times in seconds since 1970."""

    user_id: str
    email: str
    name: str
    role: str
    session_id: str
    token_id: str
    issued_at: float
    expires_at: float
    not_before: float = 0.0

    def has_role(self, role: str) -> bool:
        """Return whether the role includes the needed one; higher roles include lower ones."""
        return includes(self.role, role)
