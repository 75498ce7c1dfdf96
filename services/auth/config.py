"""The settings of the auth service."""

from dataclasses import dataclass

from shared.mail.settings import MailConfig
from shared.settings import choice, optional, ratelimit_enabled, setting, url


@dataclass(frozen=True, kw_only=True)
class Config(MailConfig, service="auth", port=8001):
    """What the auth service reads from the environment besides the settings that all services have."""

    app_url: str | None = setting(
        "APP_URL", optional(url("http", "https")), "", "Front end that mailed links lead to; the gateway without it"
    )
    email_verification: str = setting(
        "EMAIL_VERIFICATION",
        choice("required", "optional"),
        lambda known: "required" if known.get("app_env") == "production" else "optional",
        "Whether an address has to be verified before its owner can sign in; required by default in production",
    )
    ratelimit_enabled: bool = ratelimit_enabled()

    @property
    def needs_verification(self) -> bool:
        return self.email_verification == "required"
