"""The parts of one running service, each found by its class."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import Flask, current_app

from shared.server.lifecycle import KEY, Lifecycle

if TYPE_CHECKING:  # it loads urllib3, which must not be there before gevent patches
    from shared.feed.consumer import Wakeup

Part = TypeVar("Part")


class Service(Lifecycle):
    """What an app owns beside its routes: one object of each class that views, hooks and the server need.

    `document` returns the OpenAPI document; `wakeup` is for the readers of feeds, and `create_service` sets it.
    """

    wakeup: "Wakeup"

    def __init__(self, public_url: str = "") -> None:
        super().__init__(public_url)
        self.document: Callable[[], dict[str, Any]] = dict
        self._parts: dict[type, object] = {}

    def add(self, part: Part) -> Part:
        """Keep the part, in place of an earlier one of its class, and return it."""
        self._parts[type(part)] = part
        return part

    def get(self, kind: type[Part]) -> Part:
        """Return the part of this class; raise KeyError when there is none."""
        return cast(Part, self._parts[kind])


def service_of(app: Flask) -> Service:
    """Return the service of a Flask app."""
    return cast(Service, app.extensions[KEY])


def current_service() -> Service:
    """Return the service whose request or command runs."""
    return service_of(current_app)
