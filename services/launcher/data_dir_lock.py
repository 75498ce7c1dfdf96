"""Lock DATA_DIR, since two installations on it would share databases, but neither rate limits nor caches."""

import fcntl
import os
from pathlib import Path
from typing import TextIO

from shared.start_error import StartError


def lock_data_dir(folder: Path) -> TextIO:
    """Lock the folder for this process until the returned file is closed; raise StartError if it is locked."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (folder / "lock").open("a+")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # forks do not inherit this lock
    except OSError as error:
        file.seek(0)
        owner = file.read().strip()
        file.close()
        raise StartError(
            f"Process {owner} runs on DATA_DIR={folder} already. Stop it, or set another DATA_DIR for this one."
        ) from error
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
