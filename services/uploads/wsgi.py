"""What gunicorn loads."""

from services.uploads.app import create_app

app = create_app()
