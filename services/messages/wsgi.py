"""What gunicorn loads."""

from services.messages.app import create_app

app = create_app()
