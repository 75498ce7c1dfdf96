"""Read a `.env` file."""

import re
from pathlib import Path

from shared.start_error import StartError

_line = re.compile(r"""([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^\s"'#]*))\s*(?:#.*)?""").fullmatch


def read_dotenv(path: Path) -> dict[str, str]:
    """Return the settings of lines `NAME=value`, `NAME="value"` and `NAME='value'`, without escapes or expansion.

    A comment starts with `#`. Raises StartError for any other line.
    """
    settings = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _line(line.strip())
        if not match:
            raise StartError(f'{path}, line {number}: write NAME=value, with "quotes" around spaces, quotes and #.')
        settings[match[1]] = match[2] or match[3] or match[4] or ""
    return settings
