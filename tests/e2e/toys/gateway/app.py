"""What gunicorn loads."""

from shared.telemetry.request_id import WsgiApp
from tests.e2e.toys import toy


def create_app() -> WsgiApp:
    return toy("/api/health")
