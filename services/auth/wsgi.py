"""What gunicorn loads."""

from services.auth.app import create_app

app = create_app()
