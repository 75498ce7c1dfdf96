"""What gunicorn loads."""

from tests.e2e.toys import toy

app = toy("/api/health")
