"""The settings of the posts service."""

from dataclasses import dataclass

from shared.settings import (
    BaseConfig,
    database_url,
    ratelimit_enabled,
    service_port,
    service_threads,
    service_url,
    service_workers,
)


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the posts service reads from the environment besides the settings that all services have."""

    posts_port: int = service_port("posts", 8002)
    workers: int = service_workers("posts")
    threads: int = service_threads("posts")
    ratelimit_enabled: bool = ratelimit_enabled()
    database_url: str = database_url("POSTS_DATABASE_URL", "posts")
    uploads_port: int = service_port("uploads", 8003)
    uploads_url: str = service_url("uploads", 8003)
