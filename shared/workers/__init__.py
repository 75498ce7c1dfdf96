"""gunicorn's workers with the project's error shape, and with clocks against clients that are slow on purpose."""
