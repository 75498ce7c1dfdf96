"""The tables that every service has in its own database, with the columns that the kit needs."""

from typing import TypeVar

import peewee

Columns = TypeVar("Columns", bound=peewee.Model)


def own_table(columns: type[Columns], database: peewee.Database | peewee.DatabaseProxy) -> type[Columns]:
    """Return the table of these columns in a database, as a model and for migrations.

    Its name is that of the class: `FeedPositionColumns` stand in `feed_position`. A later change of the columns is a
    migration of each service that adds what is missing, since new databases have it from the first one.
    """
    name = columns.__name__.removesuffix("Columns")
    meta = type("Meta", (), {"database": database, "legacy_table_names": False})
    return type(name, (columns,), {"Meta": meta, "__module__": columns.__module__, "__doc__": columns.__doc__})
