"""What gunicorn loads."""

from services.uploads import create_app

app = create_app()
