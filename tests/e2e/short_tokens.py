"""Start the services with access tokens that live for TOKEN_SECONDS and not a second longer."""

import os
import sys

from shared.identity import claims

claims.LIFETIME = int(os.environ["TOKEN_SECONDS"])
claims.LEEWAY = 0
claims.REMEMBERED = claims.LIFETIME

from services.__main__ import main  # noqa: E402 (what is imported from here on takes these)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
