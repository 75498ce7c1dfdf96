"""What gunicorn loads, unless there is a file `broken`."""

from pathlib import Path

from shared.telemetry.request_id import WsgiApp
from tests.e2e.toys import toy


def create_app() -> WsgiApp:
    if Path("broken").exists():
        raise SystemExit(5)
    return toy("/readyz")
