"""Tables of the toy service."""

import peewee

from shared import clock
from shared.database.connection import Database
from shared.database.fields import IdField, TimestampField, id_field
from shared.database.idempotency import Idempotency, IdempotencyKeyColumns
from shared.database.pagination import Order
from shared.database.tables import own_table
from shared.feed.outbox import FactColumns, Feed, FeedPositionColumns

database = Database()


class Toy(peewee.Model):
    """A toy of somebody."""

    id = id_field()
    name = peewee.CharField(max_length=200, unique=True)
    price = peewee.BigIntegerField()
    painted = peewee.BooleanField(default=False)
    owner_id = IdField()
    version = peewee.IntegerField(default=1)
    created_at = TimestampField(default=clock.now)

    class Meta:
        database = database
        indexes = ((("created_at", "id"), False), (("price", "id"), False))


Fact = own_table(FactColumns, database)
FeedPosition = own_table(FeedPositionColumns, database)
IdempotencyKey = own_table(IdempotencyKeyColumns, database)
MODELS: list[type[peewee.Model]] = [Toy, Fact, FeedPosition, IdempotencyKey]
NEWEST = Order("newest", (Toy.created_at, Toy.id))
BY_NAME = Order("name", (Toy.name,), descending=False)
BY_PRICE = Order("price", (Toy.price, Toy.id), descending=False)
ORDERS = {order.name: order for order in (NEWEST, BY_NAME, BY_PRICE)}

feed = Feed("toys", Fact, database)
idempotency = Idempotency(IdempotencyKey, database)
