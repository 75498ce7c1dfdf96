"""What gunicorn loads."""

from services.messages import create_app

app = create_app()
