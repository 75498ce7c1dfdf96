"""The settings of the auth service."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from typing import Any

from shared.env import BaseConfig, boolean, choice, database_url, needed_in_production, optional, setting, url
from shared.mail_transport import mailbox


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """What the auth service reads from the environment besides the settings that all services have."""

    database_url: str = database_url("AUTH_DATABASE_URL", "auth")
    email_url: str | None = setting(
        "EMAIL_URL",
        optional(url("smtp", "smtps")),
        needed_in_production(""),
        "Mail server: smtp://user:password@host:587 or smtps://…:465; without it mails are files in DATA_DIR/mail",
    )
    mail_from: Address = setting(
        "MAIL_FROM", mailbox, needed_in_production("Postern <postern@localhost>"), "Sender of the mails"
    )
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
