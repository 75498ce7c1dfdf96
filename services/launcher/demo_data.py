"""Fill a development installation with demo content: `make seed POSTS=1000`."""

import argparse
import sys
import time
from collections.abc import Callable

from services.auth.config import Config as AuthConfig
from services.auth.demo_data import PASSWORD
from services.auth.demo_data import seed as seed_users
from services.posts.config import Config as PostsConfig
from services.posts.demo_data import seed as seed_posts
from services.uploads.config import Config as UploadsConfig
from services.uploads.demo_data import seed as seed_images
from shared.settings import SettingsError

Progress = Callable[[int, int], None]
BAR = 30


def progress_bar(label: str) -> Progress:
    """Return a function that draws a progress bar, or prints one line without a terminal."""
    started = time.monotonic()

    def show(done: int, total: int) -> None:
        share = done / total if total else 1.0
        text = f"{label:<8} [{'#' * round(share * BAR):<{BAR}}] {done}/{total}  {time.monotonic() - started:.0f} s"
        if sys.stdout.isatty():
            print(f"\r{text}", end="\n" if done >= total else "", flush=True)
        elif done >= total:
            print(text, flush=True)

    return show


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make seed", description=__doc__)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--posts", type=int, default=1_000)
    parser.add_argument("--comments", type=int, default=None, help="as many as posts, at most 100 000")
    parser.add_argument("--images", type=int, default=20)
    wanted = parser.parse_args(arguments)
    try:
        auth, posts, uploads = (
            AuthConfig.from_environment(),
            PostsConfig.from_environment(),
            UploadsConfig.from_environment(),
        )
    except SettingsError as error:
        print("Settings are wrong:", *error.mistakes, sep="\n  ", file=sys.stderr)
        return 2
    users = seed_users(auth, wanted.users, progress_bar("users"))
    authors = [(user.id, user.name) for user in users]
    comments = min(wanted.posts, 100_000) if wanted.comments is None else wanted.comments
    seed_posts(posts, authors, wanted.posts, comments, progress_bar("posts"))
    seed_images(uploads, [user.id for user in users], wanted.images, progress_bar("images"))
    print(f"Done. Sign in as {users[0].email} with the password {PASSWORD!r}." if users else "Done.")
    return 0
