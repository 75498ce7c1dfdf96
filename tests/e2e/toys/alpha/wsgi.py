"""What gunicorn loads, unless there is a file `broken`."""

from pathlib import Path

from tests.e2e.toys import toy

if Path("broken").exists():
    raise SystemExit(5)
app = toy("/readyz")
