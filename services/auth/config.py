"""The settings of the auth service."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.mail.settings import MailConfig
from shared.settings import boolean, choice, database_url, optional, service_threads, service_workers, setting, url


@dataclass(frozen=True, kw_only=True)
class Config(MailConfig):
    """What the auth service reads from the environment besides the settings that all services have."""

    workers: int = service_workers("auth")
    threads: int = service_threads("auth")
    database_url: str = database_url("AUTH_DATABASE_URL", "auth")
    app_url: str | None = setting(
        "APP_URL", optional(url("http", "https")), "", "Front end that mailed links lead to; the gateway without it"
    )
    email_verification: str = setting(
        "EMAIL_VERIFICATION",
        choice("required", "optional"),
        lambda known: "required" if known.get("app_env") == "production" else "optional",
        "Whether an address has to be verified before its owner can sign in; required by default in production",
    )
    ratelimit_enabled: bool = setting(
        "RATELIMIT_ENABLED", boolean, "true", "Whether failed logins and mails are counted; always in production"
    )

    @classmethod
    def contradictions(cls, known: Mapping[str, Any]) -> list[str]:
        mistakes = super().contradictions(known)
        if known.get("app_env") == "production" and known.get("ratelimit_enabled") is False:
            mistakes.append("RATELIMIT_ENABLED cannot be false in production")
        return mistakes

    @property
    def needs_verification(self) -> bool:
        return self.email_verification == "required"
