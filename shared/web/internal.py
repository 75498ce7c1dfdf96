"""Endpoints for other services only: the check of INTERNAL_TOKEN, and paginated reads of a table."""

import secrets
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from shared.problems import Problem


def require_internal() -> None:
    """Raise NOT_FOUND unless the request has INTERNAL_TOKEN as its bearer token."""
    expected = f"Bearer {current_app.config['INTERNAL_TOKEN']}"
    given = request.headers.get("Authorization", "")
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise Problem("NOT_FOUND")


def table_blueprint(name: str, rows_after: Callable[[str], list[dict[str, Any]]]) -> Blueprint:
    """Return the route by which other services read a table in pages, ordered by id."""
    blp = Blueprint(f"table of {name}", __name__)

    @blp.get(f"/internal/{name}")
    def page() -> Response:
        require_internal()
        return Response(orjson.dumps(rows_after(request.args.get("after", ""))), content_type="application/json")

    return blp
