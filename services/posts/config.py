"""The settings of the posts service."""

from dataclasses import dataclass

from shared.settings import ServiceConfig, ratelimit_enabled, service_port, service_url


@dataclass(frozen=True, kw_only=True)
class Config(ServiceConfig, service="posts", port=8002):
    """What the posts service reads from the environment besides the settings that all services have."""

    ratelimit_enabled: bool = ratelimit_enabled()
    uploads_port: int = service_port("uploads", 8003)
    uploads_url: str = service_url("uploads", 8003)
