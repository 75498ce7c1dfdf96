from dataclasses import dataclass

import pytest

from services.gateway.middleware import check_role
from shared.identity.roles import ADMIN, MODERATOR, USER
from shared.problems import Problem


@dataclass
class Somebody:
    role: str
    user_id: str = "1"
    session_id: str = "2"


@pytest.mark.parametrize(
    "needed, role, code",
    [
        (None, None, None),
        (None, "user", None),
        (USER, None, "UNAUTHORIZED"),
        (USER, "user", None),
        (USER, "admin", None),
        (MODERATOR, None, "UNAUTHORIZED"),
        (MODERATOR, "user", "FORBIDDEN"),
        (MODERATOR, "moderator", None),
        (MODERATOR, "admin", None),
        (ADMIN, "user", "FORBIDDEN"),
        (ADMIN, "moderator", "FORBIDDEN"),
        (ADMIN, "admin", None),
        (USER, "unheard-of", "FORBIDDEN"),
    ],
)
def test_higher_roles_include_lower_ones(needed: str | None, role: str | None, code: str | None) -> None:
    somebody = Somebody(role) if role else None
    if code is None:
        check_role(needed, somebody, None)
    else:
        with pytest.raises(Problem) as caught:
            check_role(needed, somebody, None)
        assert caught.value.code == code
