import pytest

from services.gateway.middleware import check_role
from shared.identity.claims import Claims
from shared.identity.roles import ADMIN, MODERATOR, USER
from shared.problems import Problem


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
    somebody = Claims("1", "", "", role, "2", "", 0, 0) if role else None
    if code is None:
        check_role(needed, somebody, None)
    else:
        with pytest.raises(Problem) as caught:
            check_role(needed, somebody, None)
        assert caught.value.code == code
