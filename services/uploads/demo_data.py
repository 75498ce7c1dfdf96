"""Fill the storage with demo images: generated patterns, kept as an upload keeps them."""

from collections.abc import Callable
from io import BytesIO

from PIL import Image

from services.uploads.app import MIGRATIONS, open_keeper
from services.uploads.config import Config
from services.uploads.http.incoming_file import Incoming
from services.uploads.models import Upload, database
from services.uploads.upload_service import UploadService, prepare
from shared.database import connection

SIZE = (320, 200)

Progress = Callable[[int, int], None]


def seed(config: Config, owners: list[str], images: int, progress: Progress) -> list[str]:
    """Give the owners, by turns, so many images; return all their ids. What is there already stays.

    `owners` are ids of users; `progress` gets the number of images done and the number wanted.
    """
    database.initialize(connection.connect(config.database_url))
    connection.migrate(database.obj, MIGRATIONS)
    keeper = open_keeper(config)
    ids = []
    with database.connection_context():
        for number in range(images if owners else 0):
            ids.append(_ensure(keeper, owners[number % len(owners)], number))
            progress(number + 1, images)
    return ids


def _ensure(keeper: UploadService, owner: str, number: int) -> str:
    name = f"demo/pattern-{number:04}.png"
    upload: Upload | None = Upload.named(owner, name).first()
    if upload is None:
        upload = _add(keeper, owner, name, _pattern(number))
    return str(upload.id)


def _add(keeper: UploadService, owner: str, name: str, data: bytes) -> Upload:
    with keeper.storage.draft() as draft:
        incoming = Incoming(draft, "file")
        incoming.write(data)
        upload = prepare(owner, incoming.end(name.split("/")[-1], private=False))
        upload.name = name
        with keeper.stored(draft, upload):
            keeper.record(upload)
    return upload


def _pattern(number: int) -> bytes:
    """Return a PNG of colours that run into each other, another one for each number."""
    across = Image.linear_gradient("L").resize(SIZE)
    down = Image.linear_gradient("L").rotate(90).resize(SIZE)
    round_about = Image.radial_gradient("L").resize(SIZE)
    picture = Image.merge("HSV", (round_about, across, down)).convert("RGB")
    buffer = BytesIO()
    picture.rotate(number * 37 % 360).save(buffer, "PNG")
    return buffer.getvalue()
