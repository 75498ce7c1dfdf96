from dataclasses import dataclass

import pytest

from services.gateway.policy import check_rights
from services.gateway.routes import ADMIN, MODERATOR, USER, Who
from shared.problems import Problem


@dataclass
class Somebody:
    role: str
    user_id: str = "1"
    session_id: str = "2"


@pytest.mark.parametrize(
    "who, role, code",
    [
        (Who.ALL, None, None),
        (Who.ALL, "user", None),
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
def test_higher_roles_include_lower_ones(who: Who, role: str | None, code: str | None) -> None:
    somebody = Somebody(role) if role else None
    if code is None:
        check_rights(who, somebody, None)
    else:
        with pytest.raises(Problem) as caught:
            check_rights(who, somebody, None)
        assert caught.value.code == code
