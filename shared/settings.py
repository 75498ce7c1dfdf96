"""Declare settings, one line per variable, and check them all at once at start-up."""

import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

MIN_SECRET_LENGTH = 32
MIN_DIFFERENT = 8  # characters of a secret; 32 random hexadecimal digits have 14
_LOCAL = ("sqlite", "file")
_MAKE_SECRET = "make one with: openssl rand -hex 32"
_visible = re.compile(r"[\x21-\x7e]*").fullmatch


class SettingsError(Exception):
    """One or more settings are missing or wrong; `mistakes` has a sentence for each."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def pass_on(name: str, value: str) -> None:
    """Set a variable for a library that takes its setting from the environment only."""
    os.environ[name] = value


def setting(name: str, parse: Callable[[str], Any], default: Any, help: str) -> Any:
    """Declare a dataclass field that is read from the variable `name`.

    `default` is the text to parse when the variable is unset or empty, or a function of the settings
    declared before; it may raise ValueError, as `parse` may, with a sentence about what is wrong. No value
    shows in the repr of a config, since some are secrets.
    """
    return field(repr=False, metadata={"name": name, "parse": parse, "default": default, "help": help})


def text(value: str) -> str:
    return value


def boolean(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return value.lower() == "true"


def integer(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and len(value) <= 20 and low <= int(value) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return parse


port = integer(1, 65535)


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return value

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """Accept an address with one of the schemes and a host, or a path in place of it; strip a final slash."""
    starts = " or ".join(f"{scheme}://" + "/path" * (scheme in _LOCAL) for scheme in schemes)

    def parse(value: str) -> str:
        try:
            parts = urlsplit(value)
            host = parts.hostname
            parts.port  # noqa: B018 (raises on a bad port)
        except ValueError:
            raise ValueError(f"must be an address that starts with {starts}") from None
        local = parts.scheme in _LOCAL
        complete = value.startswith(f"{parts.scheme}:///") and parts.path.strip("/") if local else host
        if parts.scheme not in schemes or not complete:
            raise ValueError(f"must be an address that starts with {starts}")
        return value if local else value.rstrip("/")

    return parse


def origin(value: str) -> str:
    """Accept scheme, host and port as a browser sends them in Origin (RFC 6454, section 6.1)."""
    parts = urlsplit(url("http", "https")(value))
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or value != value.lower():
        raise ValueError("must be origins like http://localhost:3000: lower-case, without a path")
    return value.rstrip("/")


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Accept an empty value as None."""
    return lambda value: parse(value) if value else None


def items(parse: Callable[[str], Any] = text) -> Callable[[str], tuple[Any, ...]]:
    """Accept a list separated by commas."""
    return lambda value: tuple(parse(item.strip()) for item in value.split(",") if item.strip())


def path(value: str) -> Path:
    return Path(value).absolute()


def secret(value: str) -> str:
    """Accept what is hard to guess and fits into a header."""
    if not _visible(value):
        raise ValueError(f"must be visible ASCII without spaces; {_MAKE_SECRET}")
    if len(value) < MIN_SECRET_LENGTH or len(set(value)) < MIN_DIFFERENT:
        raise ValueError(f"must have at least {MIN_SECRET_LENGTH} characters, many of them different; {_MAKE_SECRET}")
    return value


def private_file(target: Path, make: Callable[[], bytes]) -> bytes:
    """Read a secret file, made on the first call (mode 0600); racing processes agree on one content."""
    if not target.exists():
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, target)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return target.read_bytes()


def development_secret(known: Mapping[str, Any], name: str) -> str:
    """Make the secret under DATA_DIR; outside production only."""
    if known.get("app_env") not in ("development", "test"):
        raise ValueError(f"must be set in production; {_MAKE_SECRET}")
    target = known["data_dir"] / "secrets" / name
    try:
        return private_file(target, lambda: secrets.token_hex(32).encode()).decode()
    except OSError as error:
        raise ValueError(f"cannot be kept at {target}: {error.strerror}") from error


def needed_in_production(otherwise: str) -> Callable[[Mapping[str, Any]], str]:
    """Return the default of a setting that production cannot do without."""

    def default(known: Mapping[str, Any]) -> str:
        if known.get("app_env") not in ("development", "test"):
            raise ValueError("must be set in production")
        return otherwise

    return default


def service_port(service: str, number: int) -> Any:
    """Declare the port of a service as the field `<service>_port`; `number` is the default."""
    return setting(f"{service.upper()}_PORT", port, str(number), f"Port of the {service} service")


def service_url(service: str, number: int, parse: Callable[[str], str] = url("http", "https")) -> Any:
    """Declare where others reach a service: its port on this machine, by default `number`, unless it is set."""
    return setting(
        f"{service.upper()}_URL",
        parse,
        lambda known: f"http://127.0.0.1:{known.get(f'{service}_port', number)}",
        f"Where the gateway and other services reach {service}",
    )


def ratelimit_enabled() -> Any:
    """Declare whether a service that has limits counts at all: the field is to have this name."""
    return setting("RATELIMIT_ENABLED", boolean, "true", "Whether requests are counted; always in production")


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """The settings that every service has."""

    app_env: str = setting(
        "APP_ENV", choice("development", "production", "test"), "development", "How strict to be about settings"
    )
    data_dir: Path = setting("DATA_DIR", path, "./var", "Folder for databases, files, keys and development mails")
    log_level: str = setting(
        "LOG_LEVEL", choice("debug", "info", "warning", "error"), "info", "The least serious line that is logged"
    )
    host: str = setting("HOST", text, "127.0.0.1", "Address to listen on; 0.0.0.0 in a container")
    gateway_port: int = setting("GATEWAY_PORT", port, "8000", "Port of the gateway, the only public one")
    public_url: str = setting(
        "PUBLIC_URL",
        url("http", "https"),
        lambda known: f"http://localhost:{known.get('gateway_port', 8000)}",
        "Where clients reach the gateway; links start so",
    )
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGINS",
        items(origin),
        lambda known: "" if known.get("app_env") == "production" else "http://localhost:3000,http://127.0.0.1:3000",
        "Front ends that may call and send forms from a browser, exactly, separated by commas; none in production",
    )
    auth_port: int = service_port("auth", 8001)
    auth_url: str = service_url("auth", 8001)
    redis_url: str | None = setting(
        "REDIS_URL", optional(url("redis", "rediss")), "", "Redis, needed with several gateway processes"
    )
    internal_token: str = setting(
        "INTERNAL_TOKEN",
        secret,
        lambda known: development_secret(known, "internal_token"),
        "Secret that services show each other; made under DATA_DIR in development",
    )

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Self:
        """Read every setting; raise SettingsError with all mistakes, not only the first."""
        known: dict[str, Any] = {}
        mistakes = []
        for entry in fields(cls):
            name = entry.metadata["name"]
            try:
                default = entry.metadata["default"]
                value = environ.get(name, "") or (default(known) if callable(default) else default)
                known[entry.name] = entry.metadata["parse"](value)
            except ValueError as error:
                mistakes.append(f"{name} {error}")
        mistakes += cls.contradictions(known)
        if mistakes:
            raise SettingsError(mistakes)
        return cls(**known)

    @classmethod
    def from_environment(cls) -> Self:
        return cls.load(os.environ)

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        """Say which settings, each fine alone, do not go together; `known` lacks those that are wrong."""
        if known.get("app_env") == "production" and known.get("ratelimit_enabled") is False:
            return ["RATELIMIT_ENABLED cannot be false in production"]
        return []

    def port_of(self, service: str) -> int:
        """Return the port of a service, 0 if this one has no setting for it."""
        return int(getattr(self, f"{service}_port", 0))

    @property
    def production(self) -> bool:
        return self.app_env == "production"


@dataclass(frozen=True, kw_only=True)
class ServiceConfig(BaseConfig):
    """The settings of a service with a database, which names itself: `class Config(ServiceConfig, service="posts", …)`.

    `port` and `threads` are the defaults of its settings. The port is the field `<service>_port`.
    """

    workers: int
    threads: int
    database_url: str

    def __init_subclass__(cls, service: str = "", port: int = 0, threads: int = 8) -> None:
        if not service:  # not a service yet
            return
        name, at_once = service.upper(), "Threads, and so requests at the same time,"
        own = {
            f"{service}_port": service_port(service, port),
            "workers": setting(f"{name}_WORKERS", integer(1, 64), "1", f"Processes of the {service} service"),
            "threads": setting(f"{name}_THREADS", integer(1, 64), str(threads), f"{at_once} in each {service} process"),
            "database_url": setting(
                f"{name}_DATABASE_URL",
                url("sqlite", "postgresql"),
                lambda known: f"sqlite:///{known.get('data_dir', '')}/{service}.db",
                f"Database of the {service} service: sqlite:///path or postgresql://user:password@host/name",
            ),
        }
        for field_name, declared in own.items():
            setattr(cls, field_name, declared)
        cls.__annotations__ = dict.fromkeys(own, Any) | cls.__annotations__
