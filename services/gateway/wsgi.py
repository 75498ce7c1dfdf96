"""What gunicorn loads."""

from services.gateway import create_app

app = create_app()
