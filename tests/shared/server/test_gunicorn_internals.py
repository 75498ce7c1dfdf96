"""What of gunicorn's inside the code builds on: gunicorn promises none of it, so each name stands here."""

import ast
import importlib
import inspect
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
TREES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text())
    for folder in ("services", "shared")
    for path in sorted((ROOT / folder).rglob("*.py"))
}
SERVER = [name for name in TREES if name.startswith("shared.server.")]
IMPORTED = {
    "app.base.BaseApplication", "arbiter.Arbiter", "glogging", "glogging.Logger", "http.body.Body",
    "http.body.LengthReader", "http.errors.ParseException", "http.unreader.SocketUnreader", "http.unreader.Unreader",
    "systemd", "systemd.listen_fds", "util", "util.http_date", "util.is_hoppish", "workers.base.Worker",
    "workers.ggevent.GeventWorker", "workers.gthread", "workers.gthread.TConn", "workers.gthread.ThreadWorker",
}  # fmt: skip
# What is called, read, or overridden so that gunicorn calls it.
ATTRIBUTES = {
    "app.base.BaseApplication": {"cfg", "load", "load_config", "run"},
    "arbiter.Arbiter": {
        "WORKERS", "handle_int", "handle_term", "kill_worker", "murder_workers", "reload", "stop", "systemd",
        "worker_age",
    },
    "config.Config": {"set", "settings"},
    "glogging.Logger": {"error_log", "setup"},
    "http.body.Body": {"_read_reader", "failed", "read", "reader"},
    "http.body.LengthReader": {"length"},
    "http.unreader.SocketUnreader": {"buf", "chunk", "read", "sock", "take_buffered", "unread"},
    "workers.base.Worker": {"age", "pid", "ppid", "tmp", "wsgi"},
    "workers.ggevent.GeventWorker": {
        "alive", "app", "cfg", "handle", "handle_exit", "init_signals", "log", "notify", "ppid", "run", "sockets",
        "worker_connections", "wsgi",
    },
    "workers.gthread.TConn": {"client", "close", "parser", "server", "sock", "timeout"},
    "workers.gthread.ThreadWorker": {
        "_cap_keepalive", "accept", "alive", "app", "cfg", "enqueue_req", "finish_request", "handle", "init_signals",
        "keepalived_conns", "max_keepalived", "murder_pending", "nr_conns", "on_client_socket_readable",
        "on_pending_socket_readable", "pending_conns", "poller", "ppid", "wsgi",
    },
}  # fmt: skip
# Which class of gunicorn the variables and attributes of a name hold; an underscore in front makes no difference.
HOLDERS = {
    "body": "http.body.Body",
    "cfg": "config.Config",
    "conn": "workers.gthread.TConn",
    "master": "arbiter.Arbiter",
    "reader": "http.body.LengthReader",
    "unreader": "http.unreader.SocketUnreader",
    "worker": "workers.base.Worker",
}


def load(path: str) -> Any:
    """Return a module of gunicorn, or what stands in one."""
    try:
        return importlib.import_module(f"gunicorn.{path}")
    except ModuleNotFoundError:
        module, _, name = f"gunicorn.{path}".rpartition(".")
        return getattr(importlib.import_module(module), name)


def is_gunicorns(name: str) -> bool:
    return name.partition(".")[0] == "gunicorn"


def imported() -> Iterator[str]:
    """Name what the code imports of gunicorn, and takes from the modules that it imports."""
    for tree in TREES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not any(is_gunicorns(alias.name) for alias in node.names), "write `from gunicorn import …`"
            elif isinstance(node, ast.ImportFrom) and is_gunicorns(node.module or ""):
                for alias in node.names:
                    path = f"{node.module}.{alias.name}".removeprefix("gunicorn.")
                    yield path
                    if inspect.ismodule(load(path)):
                        taken = (name for owner, name in accesses(tree) if owner == (alias.asname or alias.name))
                        yield from (f"{path}.{name}" for name in taken)


def accesses(tree: ast.AST, context: type[ast.expr_context] = ast.expr_context) -> Iterator[tuple[str, str]]:
    """Yield what each attribute in the code belongs to, and its name; `super()` is self."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, context):
            match node.value:
                case ast.Name(id=name) | ast.Attribute(attr=name):
                    yield name, node.attr
                case ast.Call(func=ast.Name(id="super")):
                    yield "self", node.attr
                case _:
                    yield "", node.attr


def parsed(cls: type) -> ast.ClassDef:
    return next(node for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef))


def defined(path: str) -> set[str]:
    """Return the attributes of a class of gunicorn, those that its methods give to `self` too."""
    names: set[str] = set()
    for cls in load(path).__mro__:
        if is_gunicorns(cls.__module__):
            stored = accesses(parsed(cls), ast.Store)
            names |= {*vars(cls), *(name for holder, name in stored if holder == "self")}
    return {name for name in names if not name.startswith("__")}


def derived() -> Iterator[tuple[str, type]]:
    """Yield the classes of the server, mixed in or not, with the class of gunicorn that they extend."""
    for module in SERVER:
        for _, cls in inspect.getmembers(importlib.import_module(module), inspect.isclass):
            theirs = next((base for base in cls.__mro__ if is_gunicorns(base.__module__)), None)
            if theirs and theirs is not cls:
                path = f"{theirs.__module__}.{theirs.__name__}".removeprefix("gunicorn.")
                yield from ((path, ours) for ours in cls.__mro__ if ours.__module__ in SERVER)


def used() -> Iterator[tuple[str, str]]:
    """Yield class and name of each attribute of gunicorn's that the server uses."""
    for path, cls in derived():
        tree = parsed(cls)
        yield from ((path, node.name) for node in tree.body if isinstance(node, ast.FunctionDef))
        yield from ((path, name) for holder, name in accesses(tree) if holder == "self")
    for module in SERVER:
        for owner, name in accesses(TREES[module]):
            if held := HOLDERS.get(owner.removeprefix("_")):
                yield held, name
            elif name.startswith("_"):
                yield from ((path, name) for path in ATTRIBUTES if owner != "self")


def test_gunicorn_is_pinned_to_the_version_whose_inside_is_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (line,) = [line for line in project["dependencies"] if line.startswith("gunicorn")]
    assert line == f"gunicorn=={metadata.version('gunicorn')}"


def test_what_the_code_imports_of_gunicorn_is_listed_and_there() -> None:
    assert set(imported()) == IMPORTED
    assert all(map(load, IMPORTED))


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_what_the_server_uses_of_a_class_of_gunicorn_is_listed_and_there(path: str) -> None:
    theirs = defined(path)
    assert ATTRIBUTES[path] <= theirs
    assert {name for owner, name in used() if owner == path and name in theirs} == ATTRIBUTES[path]


def test_each_class_of_gunicorn_that_is_used_is_listed() -> None:
    assert {path for path, _ in used()} == ATTRIBUTES.keys()
