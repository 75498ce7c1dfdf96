"""What gunicorn loads."""

from services.posts import create_app

app = create_app()
