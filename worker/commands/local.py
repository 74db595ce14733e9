"""Commands for this machine: up, local env, sandbox, token."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import click
import jwt

from shared.roles import ROLES, Role
from worker.commands.entry import NOT_GOOD, WRONG_USE, settings_or_exit


@click.command()
def up() -> None:
    """Start everything on this machine, and run it until Ctrl-C."""
    from worker.local.up import up as run_up  # noqa: PLC0415

    sys.exit(run_up(os.environ, Path.cwd()))


@click.group()
def local() -> None:
    """The local servers that `make up` started."""


@local.command()
def env() -> None:
    """Print the addresses of the running local servers, for a shell to read."""
    from shared.settings import DOTENV, SettingsError, environment_with_files  # noqa: PLC0415
    from worker.local.errors import LocalServicesError  # noqa: PLC0415
    from worker.local.services import local_env_lines  # noqa: PLC0415

    try:
        home = environment_with_files(os.environ, DOTENV).get("LLM_REFRESH_HOME") or ".local"
        lines = local_env_lines(Path(home))
    except SettingsError as error:
        click.echo(f"llm-refresh: {error}", err=True)
        sys.exit(WRONG_USE)
    except LocalServicesError as error:
        click.echo(f"llm-refresh: {error}", err=True)
        sys.exit(NOT_GOOD)
    click.echo("\n".join(lines))


@click.command()
@click.option("--role", type=click.Choice(ROLES), default="service_role", show_default=True)
@click.option("--sub", default="operator", show_default=True, help="Who the token is for.")
@click.option("--hours", type=click.FloatRange(min=0.01, max=24 * 365), default=1.0, show_default=True)
def token(role: Role, sub: str, hours: float) -> None:
    """Make a token that this system's JWT_SECRET signs."""
    from worker.web.token_claims import Rules, claims_for  # noqa: PLC0415 - knows PostgreSQL, which is slow to load

    settings = settings_or_exit()
    if settings.jwt_secret is None:
        why = "auth is off here, no token is needed" if settings.auth_off else "tokens come from the owner of JWKS_URL"
        click.echo(f"llm-refresh: JWT_SECRET is not set: {why}", err=True)
        sys.exit(WRONG_USE)
    try:
        claims = claims_for(role, Rules.of(settings))
    except LookupError:
        click.echo(f"llm-refresh: JWT_ROLE_MAP: no name in it means {role}", err=True)
        sys.exit(WRONG_USE)
    claims |= {"sub": sub, "exp": int(time.time() + hours * 3600)}
    click.echo(jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256"))


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8099, show_default=True, help="0 takes a free one.")
@click.option(
    "--models", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A JSON file with the list."
)
@click.option("--delay", type=click.FloatRange(min=0), help="Seconds a completion takes.")
def sandbox(port: int, models: Path | None, delay: float | None) -> None:
    """Serve a stand-in for MatchaAI on 127.0.0.1 (its key: STAND_IN_API_KEY, else the built-in one)."""
    from worker.local import stand_in  # noqa: PLC0415

    key = os.environ.get("STAND_IN_API_KEY") or stand_in.DEFAULT_API_KEY
    try:
        entries = json.loads(models.read_text(encoding="utf-8")) if models else stand_in.default_models()
    except ValueError as error:
        raise click.UsageError(f"--models: {models} is no JSON ({error})") from None
    stand_in.serve(
        host="127.0.0.1",
        port=port,
        api_key=key,
        models=entries,
        delay=stand_in.DEFAULT_DELAY_SECONDS if delay is None else delay,
        ready=lambda bound_port: click.echo(
            f"ready: http://127.0.0.1:{bound_port}{stand_in.PREFIX} (a stand-in, key {key})"
        ),
    )
