"""Celery's tasks: each checks its arguments and calls one function of `shared`."""
