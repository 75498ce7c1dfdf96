from datetime import timedelta
from typing import Any

import pytest

from services.auth import retention
from services.auth.models import SESSION_LIFETIME, AuditEvent, RefreshToken, Session
from tests.auth.conftest import Client, Register, bearer, log_in
from tests.conftest import FrozenClock

DAY = 24 * 3600


def sessions() -> set[str]:
    return {session.id for session in Session.select()}


def test_a_session_goes_a_day_after_it_was_ended(client: Client, frozen_clock: FrozenClock, register: Register) -> None:
    client.post("/api/auth/logout", headers=bearer(register()))
    log_in(client)
    (running,) = [session.id for session in Session.select().where(Session.revoked_at.is_null())]
    frozen_clock.advance(seconds=DAY)
    retention.prune()
    assert len(sessions()) == 2
    frozen_clock.advance(seconds=1)
    retention.prune()
    assert sessions() == {running}
    assert {token.session_id for token in RefreshToken.select()} == {running}


def test_a_session_goes_a_day_after_it_expired(client: Client, frozen_clock: FrozenClock, register: Register) -> None:
    token = register()["refreshToken"]
    frozen_clock.advance(seconds=SESSION_LIFETIME[False].total_seconds() + DAY)
    retention.prune()
    late = client.post("/api/auth/refresh", json={"refreshToken": token})
    assert late.json["code"] == "TOKEN_EXPIRED"
    frozen_clock.advance(seconds=1)
    retention.prune()
    assert not sessions()
    assert not RefreshToken.select().exists()


def test_events_are_kept_for_a_year(
    client: Client, frozen_clock: FrozenClock, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    user_id = register()["user"]["id"]
    for _ in range(4):
        log_in(client)
    frozen_clock.moment += timedelta(days=365)
    recent: Any = AuditEvent.create(kind="login", user_id=user_id, address="", request_id="", detail="{}")
    retention.prune()
    assert AuditEvent.select().count() == 6
    frozen_clock.advance(seconds=1)
    retention.prune()
    assert [event.id for event in AuditEvent.select()] == [recent.id]
