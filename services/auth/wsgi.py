"""What gunicorn loads."""

from services.auth import create_app

app = create_app()
