"""A stand-in for MatchaAI, for first use and tests: a real HTTP server that can misbehave in every way that was met."""

from worker.local.stand_in.models import default_models
from worker.local.stand_in.routes import PREFIX
from worker.local.stand_in.server import DEFAULT_DELAY_SECONDS, serve

DEFAULT_API_KEY = "sandbox-key"

__all__ = ["DEFAULT_API_KEY", "DEFAULT_DELAY_SECONDS", "PREFIX", "default_models", "serve"]
