"""Start the toys as the real services are started."""

import sys

from services.__main__ import main

sys.exit(main(sys.argv[1:], "tests.e2e.toys"))
