"""A stand-in for MatchaAI, for first use and tests: a real HTTP server that can misbehave in every way that was met."""

from shared.gateway.sandbox.models import default_models
from shared.gateway.sandbox.routes import PREFIX
from shared.gateway.sandbox.server import DEFAULT_DELAY_SECONDS, serve

DEFAULT_API_KEY = "sandbox-key"

__all__ = ["DEFAULT_API_KEY", "DEFAULT_DELAY_SECONDS", "PREFIX", "default_models", "serve"]
