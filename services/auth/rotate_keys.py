"""Make a new key to sign with, which running processes take into use by themselves: `make rotate-keys`."""

import sys

from services.auth.config import Config
from services.auth.signing_keys import KEPT_FOR, PUBLISHED_FOR, add_key
from shared.settings import SettingsError


def main(_arguments: list[str]) -> int:
    """Add the key and say what happens next; return the exit code."""
    try:
        path = add_key(Config.from_environment().data_dir)
    except (SettingsError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(
        f"{path} is public within a second and signs in {PUBLISHED_FOR:.0f} seconds."
        f" Older keys are removed {KEPT_FOR / 60:.0f} minutes after that.\n"
    )
    return 0
