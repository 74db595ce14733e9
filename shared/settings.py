"""One frozen Settings, read from an environment mapping and a `.env` file by those who may read them."""

import json
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from cronsim import CronSim, CronSimError
from dotenv import dotenv_values
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

STATE_FILE = "state.json"
"""In LLM_REFRESH_HOME: the mode and the addresses of what `make up` started."""


class SettingsError(Exception):
    """A setting is wrong or missing. The text is one line that names it and says what to do."""


def _cron(value: object) -> object:
    try:
        CronSim(str(value), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(f"{value!r} is no cron expression of five fields ({error}); example: 0 0 * * *") from None
    return value


def _zone(value: object) -> object:
    try:
        zoneinfo.ZoneInfo(str(value))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; examples: UTC, Europe/Berlin") from None
    return value


def _web_address(value: object) -> object:
    text = str(value).rstrip("/")
    try:
        parts = urlsplit(text)
        readable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none
        readable = False
    if not readable or any(character.isspace() for character in text):
        raise ValueError("must be an address such as https://host/path")
    if parts.username or parts.password:
        raise ValueError("must hold no user or password")
    return text


def _base(address: str) -> str:
    if "?" in address or "#" in address:
        raise ValueError("must hold no ? and no #: paths are put behind it")
    return address


def _database(value: object) -> object:
    text = str(value)
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not rest:
        raise ValueError("must be an address such as postgresql://user:password@host:5432/database")
    try:
        parts = urlsplit(text)
        known = parts.hostname or "host=" in parts.query, parts.port
    except ValueError as error:
        raise ValueError(f"cannot be read as an address ({error})") from None
    if not known[0] and not parts.path.strip("/"):
        raise ValueError("names no host and no database")
    return f"postgresql+psycopg://{rest}"


def _redis(value: object) -> object:
    parts = urlsplit(str(value))
    if parts.scheme not in ("redis", "rediss") or not parts.hostname:
        raise ValueError("must be an address such as redis://:password@host:6379/0")
    return value


def _origins(value: object) -> object:
    return tuple(part.strip().rstrip("/") for part in str(value).split(",") if part.strip())


WebAddress = Annotated[str, BeforeValidator(_web_address)]
BaseAddress = Annotated[WebAddress, AfterValidator(_base)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """Everything that can be set. Field names are the variables' names in lower case.

    Durations are seconds unless the name says otherwise. Secrets are `SecretStr`: they do not print.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True)

    llm_refresh_env: Literal["local", "production"] = "production"
    llm_refresh_home: Path = Path(".local")
    database_url: Annotated[SecretStr, BeforeValidator(_database)]
    migrate_database_url: Annotated[SecretStr | None, BeforeValidator(_database)] = None
    redis_url: Annotated[SecretStr, BeforeValidator(_redis)]

    matchaai_base_url: BaseAddress | None = None
    matchaai_api_key: SecretStr | None = None
    matchaai_mission_id: int | None = None
    matchaai_default_model: str = "claude-3-7-sonnet"
    matchaai_model_field: Literal["llm_id", "options.responseLLM"] = "llm_id"
    stand_in_url: BaseAddress | None = None
    stand_in_api_key: SecretStr | None = None
    matchaai_timeout_seconds: float = Field(default=300, gt=0, le=3600)

    refresh_cron: Annotated[str, BeforeValidator(_cron)] = "0 0 * * *"
    refresh_timezone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    refresh_max_shrink: float = Field(default=0.5, ge=0, le=1)
    refresh_grace_syncs: int = Field(default=2, ge=1)
    refresh_grace_min_hours: float = Field(default=12, ge=0)
    refresh_attempts: int = Field(default=3, ge=1)
    refresh_wait_seconds: float = Field(default=20, ge=0, le=300)

    chat_concurrency: int = Field(default=200, ge=1, le=5000)
    chat_lease_seconds: float = Field(default=30, ge=1)
    chat_deadline_seconds: float = Field(default=600, gt=0)
    chat_retry_base_seconds: float = Field(default=2, gt=0)
    chat_max_attempts: int = Field(default=3, ge=1)
    chat_max_queued: int = Field(default=5000, ge=1)
    chat_max_chars: int = Field(default=200_000, ge=1)
    chat_retention_days: float = Field(default=30, gt=0)

    jwt_secret: SecretStr | None = None
    jwks_url: WebAddress | None = None
    jwt_audience: str | None = None
    metrics_token: SecretStr | None = None
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(_origins)] = ()

    web_concurrency: int = Field(default=2, ge=1, le=64)
    port: Port = 3002
    flower_port: Port = 5555
    flower_user: str = "operator"
    flower_password: SecretStr | None = None

    log_format: Literal["console", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    notify_webhook_url: WebAddress | None = None
    notify_webhook_secret: SecretStr | None = None

    @property
    def local(self) -> bool:
        """Local mode: loopback only, a stand-in gateway where none is given."""
        return self.llm_refresh_env == "local"

    @property
    def auth_off(self) -> bool:
        """Only local mode without a JWT_SECRET or JWKS_URL takes every caller as service_role `local`."""
        return self.local and self.jwt_secret is None and self.jwks_url is None

    @property
    def upstream_given(self) -> bool:
        """Whether MatchaAI can be asked: an address and a key. Without them a refresh reads the mapping."""
        return self.matchaai_base_url is not None and self.matchaai_api_key is not None

    @property
    def logs_as_json(self) -> bool:
        return (self.log_format or ("console" if self.local else "json")) == "json"

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.local and self.jwt_secret is None and self.jwks_url is None:
            raise ValueError("JWT_SECRET is missing: production needs JWT_SECRET (HS256) or JWKS_URL")
        if not self.local and self.jwt_secret is not None and len(self.jwt_secret.get_secret_value().encode()) < 32:
            raise ValueError("JWT_SECRET is too short: HS256 needs 32 bytes or more (RFC 7518, section 3.2)")
        key = self.matchaai_api_key.get_secret_value() if self.matchaai_api_key else "x"
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise ValueError("MATCHAAI_API_KEY holds characters that no HTTP header can carry")
        if self.notify_webhook_url is not None and self.notify_webhook_secret is None:
            raise ValueError("NOTIFY_WEBHOOK_SECRET is missing: NOTIFY_WEBHOOK_URL is given and notices are signed")
        return self


def secrets_of(settings: Settings) -> list[str]:
    """Every secret that must never stand in a log line; of an address, its password."""
    found: list[str] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            found.append((urlsplit(text).password or "") if "://" in text else text)
    return [secret for secret in found if secret]


NAMES = frozenset(name.upper() for name in Settings.model_fields)
"""Every variable that is read."""


def environment_with_files(environ: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """The variables that are set, from `.env` and, above it, the environment; NAME_FILE names a file with the value.

    An empty value counts as not set. Raises SettingsError for a file that cannot be read.
    """
    from_file: dict[str, str | None] = dict(dotenv_values(dotenv)) if dotenv is not None and dotenv.is_file() else {}
    merged: dict[str, str] = {}
    for source in (from_file, environ):
        for name in NAMES:
            value, path = source.get(name), source.get(f"{name}_FILE")
            if value and path:
                raise SettingsError(f"{name}: given twice, by {name} and by {name}_FILE; keep one")
            if path:
                try:
                    value = Path(path).read_text(encoding="utf-8").strip()
                except (OSError, UnicodeDecodeError) as error:
                    raise SettingsError(f"{name}_FILE: cannot read {path!r} ({type(error).__name__})") from None
            if value:
                merged[name] = value
    return merged


def with_local_state(variables: dict[str, str]) -> dict[str, str]:
    """Fill in what `make up` left in LLM_REFRESH_HOME, when neither the mode nor a database is given."""
    if "LLM_REFRESH_ENV" in variables or "DATABASE_URL" in variables:
        return variables
    state = Path(variables.get("LLM_REFRESH_HOME", ".local")) / STATE_FILE
    try:
        left = json.loads(state.read_text(encoding="utf-8"))
        known = {name: str(value) for name, value in left.items() if name in NAMES}
    except FileNotFoundError:
        return variables
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(f"LLM_REFRESH_HOME: {state} cannot be read ({type(error).__name__}); delete it") from None
    return known | variables


def read_settings(environ: Mapping[str, str], dotenv: Path | None = None) -> Settings:
    """Settings from an environment mapping, a `.env` file below it, and what a running `make up` left.

    Raises SettingsError, one line that names the variable, for the first one that is wrong.
    """
    variables = with_local_state(environment_with_files(environ, dotenv))
    values: dict[str, Any] = {name.lower(): value for name, value in variables.items()}
    try:
        return Settings(**values)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def _one_line(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0]).upper()
    if first["type"] == "missing":
        return f"{name} is missing: set it, name a file with {name}_FILE, or use `make up` for local servers"
    return f"{name}: {message}"
