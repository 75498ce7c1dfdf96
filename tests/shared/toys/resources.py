"""The views of the toy service, written as those of a real one are."""

from typing import Any

import marshmallow as ma
import peewee
from flask import Response, abort, request

from shared.database.connection import get_or_404
from shared.database.pagination import PageQuerySchema, paginate
from shared.problems import Problem
from shared.web.auth import current_user, require_user, signed_in
from shared.web.blueprint import Blueprint, takes_body
from shared.web.etag import require_match, tagged
from shared.web.responses import no_content, respond
from shared.web.schema import AnswerSchema, Boolean, Integer, Schema, Text, Timestamp
from tests.shared.toys.models import ORDERS, Toy, database, feed, idempotency

blp = Blueprint("toys", __name__, url_prefix="/api/toys")
odd = Blueprint("odd", __name__, url_prefix="/api/odd")


class ToySchema(AnswerSchema):
    id = ma.fields.String()
    name = ma.fields.String()
    price = ma.fields.Integer()
    painted = ma.fields.Boolean()
    owner_id = ma.fields.String()
    created_at = Timestamp()


class ToyCreateSchema(Schema):
    name = Text(low=2, high=200, required=True)
    price = Integer(low=0, high=10**12, required=True)
    painted = Boolean(load_default=False)
    tags = ma.fields.List(Text(high=10), load_default=list)
    owner_note = Text(high=20, lines=True)
    pass_word = Text(high=20, verbatim=True)


class ToyPatchSchema(Schema):
    name = Text(low=2, high=200)
    price = Integer(low=0)


class ToyQuerySchema(PageQuerySchema):
    sort = ma.fields.String(load_default="newest", validate=ma.validate.OneOf(ORDERS))
    painted = Boolean()
    tag = ma.fields.List(ma.fields.String())


def represent(toy: Toy) -> dict[str, Any]:
    data: dict[str, Any] = ToySchema().dump(toy)
    return data


@blp.route("")
@blp.arguments(ToyQuerySchema, location="query")
@blp.response(200, ToySchema(many=True))
def find(args: dict[str, Any]) -> list[Toy]:
    """List toys."""
    query = Toy.select()
    if "painted" not in args:
        return paginate(query, ORDERS[args["sort"]], args, total=Toy.select().count)
    return paginate(query.where(Toy.painted == args["painted"]), ORDERS[args["sort"]], args)


@blp.route("", methods=["POST"])
@signed_in()
@blp.arguments(ToyCreateSchema)
@idempotency.accepts_key
@blp.response(201, ToySchema)
def make(data: dict[str, Any]) -> Response:
    """Make a toy."""
    with database.atomic():
        toy = Toy.create(
            name=data["name"], price=data["price"], painted=data["painted"], owner_id=require_user().user_id
        )
        feed.publish("toy.made", toy.id, {"id": toy.id, "name": toy.name})
        _fail_if_wanted(data)
        return tagged(toy.version, represent(toy), 201, {"Location": f"/api/toys/{toy.id}"})


def _fail_if_wanted(data: dict[str, Any]) -> None:
    if "broken" in data["tags"]:
        raise RuntimeError("the inside")
    if "refused" in data["tags"]:
        raise Problem("FORBIDDEN", "Not such a toy.")
    if "aborted" in data["tags"]:
        abort(409)
    if "busy" in data["tags"]:
        raise Problem("SERVICE_UNAVAILABLE")


@blp.route("/<toy_id>")
@blp.response(200, ToySchema)
def show(toy_id: str) -> Response:
    """Return one toy."""
    toy = get_or_404(Toy, Toy.id == toy_id)
    return tagged(toy.version, represent(toy))


@blp.route("/<toy_id>", methods=["PATCH"])
@signed_in()
@blp.arguments(ToyPatchSchema)
@blp.response(200, ToySchema)
def change(data: dict[str, Any], toy_id: str) -> Response:
    """Change what the body names."""
    with database.atomic():
        toy = get_or_404(Toy, Toy.id == toy_id)
        current = {"name": toy.name, "price": toy.price}
        require_match(toy.version, current, data, lambda: represent(toy))
        Toy.update(version=Toy.version + 1, **data).where(Toy.id == toy_id).execute()
        toy = Toy.get_by_id(toy_id)
        return tagged(toy.version, represent(toy))


@blp.route("/<toy_id>", methods=["DELETE"])
@signed_in("moderator")
@blp.response(204)
def delete(toy_id: str) -> Response:
    """Delete a toy."""
    with database.atomic():
        toy = get_or_404(Toy, Toy.id == toy_id)
        require_match(toy.version, {}, {})
        toy.delete_instance()
    return no_content()


@odd.route("/echo", methods=["POST"])
@takes_body
def echo() -> Response:
    return respond(request.get_json())


@odd.route("/half", methods=["POST"])
@takes_body
@signed_in()
@idempotency.accepts_key
def make_half() -> Response:
    """Write, and refuse after it, without a transaction of its own."""
    Toy.create(name="half", price=0, owner_id=require_user().user_id)
    raise Problem("FORBIDDEN")


@odd.route("/load", methods=["POST"])
@odd.arguments(ToyCreateSchema)
def load(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/form", methods=["POST"])
@odd.arguments(ToyCreateSchema, location="form")
def load_form(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/plain", methods=["POST"])
@odd.arguments(ToyCreateSchema, location="json_or_form")
def load_plain_form(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/mine", methods=["POST"])
@signed_in()
@odd.arguments(ToyCreateSchema, location="json_or_form")
def load_my_form(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/once", methods=["POST"])
@signed_in()
@odd.arguments(ToyCreateSchema, location="json_or_form")
@idempotency.accepts_key
def load_once(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/query")
@odd.arguments(ToyQuerySchema, location="query")
def load_query(data: dict[str, Any]) -> Response:
    return respond(data)


@odd.route("/who")
def who() -> Response:
    caller = current_user()
    return respond(caller and caller.user_id)


@odd.route("/admin")
@signed_in("admin")
def admin() -> Response:
    return respond("hello")


@odd.route("/<path:kind>/fail")
def fail(kind: str) -> Response:
    """Fail in the way that the path names."""
    if kind.isdigit():
        abort(int(kind))
    raise {
        "unknown": RuntimeError("secret /etc/passwd"),
        "key": KeyError("secret"),
        "integrity": peewee.IntegrityError("UNIQUE constraint failed: secret.column"),
        "operational": peewee.OperationalError("server secret.example closed"),
        "interface": peewee.InterfaceError("connection already closed"),
        "programming": peewee.ProgrammingError("syntax error at SELECT secret"),
        "data": peewee.DataError("numeric value out of range"),
        "missing": peewee.DoesNotExist("<Model: Toy> instance matching query does not exist: SQL: SELECT"),
        "validation": ma.ValidationError({"tags": {2: ["Is secret."]}}),
    }[kind]


@odd.route("/stream")
def stream() -> Response:
    return Response((b"x" * 1000 for _ in range(5)), content_type="text/plain")
