"""What gunicorn loads."""

from services.posts.app import create_app

app = create_app()
