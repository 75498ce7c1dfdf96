"""The list of accounts for admins, served at two paths."""

from typing import Any

import peewee

from services.auth.models import User
from services.auth.schemas import admin_item
from shared.database.pagination import Order, paginate

NEVER = "0001-01-01T00:00:00.000000Z"


class LastLogin(Order):
    """Sort by last login, the newest first, nulls last."""

    def __init__(self) -> None:
        super().__init__("lastLogin", (User.last_login, User.id))
        self._moment = peewee.fn.COALESCE(User.last_login, NEVER)

    def sort(self, query: peewee.ModelSelect) -> peewee.ModelSelect:
        return query.order_by(self._moment.desc(), User.id.desc())

    def after(self, query: peewee.ModelSelect, values: list[Any]) -> peewee.ModelSelect:
        moment, user_id = values
        return query.where(peewee.Tuple(self._moment, User.id) < peewee.Tuple(moment or NEVER, user_id))


ORDERS = {
    "newest": Order("newest", (User.created_at, User.id)),
    "oldest": Order("oldest", (User.created_at, User.id), descending=False),
    "name": Order("name", (User.name_folded, User.id), descending=False),
    "lastLogin": LastLogin(),
}


def list_users(args: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the page of accounts for a `UserQuerySchema`, as `AdminUserSchema`."""
    search, status, role = args.get("search"), args.get("status"), args.get("role")
    unfiltered = not (search or status or role)
    total = User.select().count if unfiltered else None
    rows = paginate(User.search(search, status, role), ORDERS[args["sort"]], args, total)
    return [admin_item(user) for user in rows]
