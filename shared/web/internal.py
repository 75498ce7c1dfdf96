"""Endpoints for other services only: the check of INTERNAL_TOKEN, and a table read by ids."""

import secrets
from collections.abc import Callable
from typing import Any

import orjson
from flask import Blueprint, Response, current_app, request

from shared.problems import Problem


def require_internal() -> None:
    """Let only the other services of this installation pass; anybody else sees a 404."""
    expected = f"Bearer {current_app.config['INTERNAL_TOKEN']}"
    given = request.headers.get("Authorization", "")
    if not secrets.compare_digest(given.encode(), expected.encode()):
        raise Problem("NOT_FOUND")


def table_blueprint(name: str, rows_after: Callable[[str], list[dict[str, Any]]]) -> Blueprint:
    """Return the route where other services read a table, some rows at a time, in the order of their ids."""
    blp = Blueprint(f"table of {name}", __name__)

    @blp.get(f"/internal/{name}")
    def page() -> Response:
        require_internal()
        return Response(orjson.dumps(rows_after(request.args.get("after", ""))), content_type="application/json")

    return blp
