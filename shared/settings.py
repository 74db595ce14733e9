"""One frozen Settings, read from an environment mapping and a `.env` file by those who may read them."""

import importlib.util
import json
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cronsim import CronSim, CronSimError
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

from shared import addresses, environment, roles
from shared.field_errors import words_of
from shared.signing import signing_key
from shared.vocabulary import ModelField

DOTENV = Path(".env")
"""Read below the environment, in the folder that a process is started in."""


MAX_INTEGER = 2_147_483_647
MAX_SECONDS = 30 * 86_400.0


class SettingsError(Exception):
    """A setting is wrong or missing. The text is one line that names it and says what to do."""


def _cron(value: object) -> object:
    five = len(str(value).split()) == 5  # CronSim takes seconds as well
    try:
        CronSim(str(value), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        five = False
    if not five:
        raise ValueError("must be a cron expression of five fields, such as 0 0 * * *")
    return value


def _zone(value: object) -> object:
    try:
        zoneinfo.ZoneInfo(str(value))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("must be a time zone, such as UTC or Europe/Berlin") from None
    return value


def _notify_urls(value: object) -> tuple[str, ...]:
    urls = addresses.notify_urls(value)
    if urls and importlib.util.find_spec("apprise") is None:
        raise ValueError("needs Apprise, which is not installed: pip install 'llm-refresh[notify]'")
    return urls


WebAddress = Annotated[str, BeforeValidator(addresses.web_address)]
BaseAddress = Annotated[WebAddress, AfterValidator(addresses.base_address)]
Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseModel):
    """Everything that can be set. Field names are the variables' names in lower case.

    Durations are seconds unless the name says otherwise. Secrets are `SecretStr`: they do not print.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True, allow_inf_nan=False)

    llm_refresh_env: Literal["local", "production"] = "production"
    llm_refresh_home: Path = Path(".local")
    database_url: Annotated[SecretStr, BeforeValidator(addresses.database_url)]
    migrate_database_url: Annotated[SecretStr | None, BeforeValidator(addresses.database_url)] = None
    redis_url: Annotated[SecretStr, BeforeValidator(addresses.redis_url)]

    matchaai_base_url: BaseAddress | None = None
    matchaai_api_key: SecretStr | None = None
    matchaai_mission_id: int | None = Field(default=None, ge=0, le=MAX_INTEGER)
    matchaai_default_model: str = "claude-3-7-sonnet"
    matchaai_model_field: ModelField = "llm_id"
    stand_in_url: BaseAddress | None = None
    stand_in_api_key: SecretStr | None = None
    matchaai_timeout_seconds: float = Field(default=300, gt=0, le=3600)
    matchaai_max_parallel: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    matchaai_requests_per_minute: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    """Both over all processes; None: MatchaAI takes any number."""

    refresh_cron: Annotated[str, BeforeValidator(_cron)] = "0 0 * * *"
    refresh_timezone: Annotated[str, BeforeValidator(_zone)] = "UTC"
    refresh_max_shrink: float = Field(default=0.5, ge=0, le=1)
    refresh_grace_syncs: int = Field(default=2, ge=1, le=1000)
    refresh_grace_min_hours: float | None = Field(default=None, ge=0)
    """None: half the shortest gap of REFRESH_CRON (`shared/cadence.py`)."""
    refresh_attempts: int = Field(default=3, ge=1, le=100)
    refresh_wait_seconds: float = Field(default=20, ge=0, le=300)

    chat_concurrency: int = Field(default=200, ge=1, le=5000)
    chat_lease_seconds: float = Field(default=30, ge=1, le=3600)
    chat_deadline_seconds: float = Field(default=600, gt=0, le=MAX_SECONDS)
    chat_retry_base_seconds: float = Field(default=2, gt=0, le=3600)
    chat_max_attempts: int = Field(default=3, ge=1, le=100)
    chat_max_queued: int = Field(default=5000, ge=1, le=MAX_INTEGER)
    chat_max_chars: int = Field(default=200_000, ge=1, le=MAX_INTEGER)
    chat_retention_days: float = Field(default=30, gt=0, le=36_500)
    caller_max_open: int = Field(default=1000, ge=1, le=MAX_INTEGER)
    caller_max_running: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    caller_requests_per_minute: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    """None: any number."""

    jwt_secret: SecretStr | None = None
    jwks_url: WebAddress | None = None
    jwt_audience: str | None = None
    jwt_role_claim: Annotated[str, BeforeValidator(roles.claim_names)] = "role"
    jwt_role_map: Annotated[tuple[tuple[str, roles.Role], ...], BeforeValidator(roles.role_map)] = ()
    metrics_token: SecretStr | None = None
    cors_origins: Annotated[tuple[str, ...], BeforeValidator(addresses.origins)] = ()

    web_concurrency: int = Field(default=2, ge=1, le=64)
    port: Port = 3002
    flower_port: Port = 5555
    flower_user: str = "operator"
    flower_password: SecretStr | None = None

    log_format: Literal["console", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    notify_webhook_url: WebAddress | None = None
    notify_webhook_secret: SecretStr | None = None
    notify_urls: Annotated[tuple[SecretStr, ...], BeforeValidator(_notify_urls)] = ()

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
    def notifies(self) -> bool:
        """Whether anybody is to get notices: without one none is written."""
        return self.notify_webhook_url is not None or bool(self.notify_urls)

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
        for name, secret in (("FLOWER_USER", SecretStr(self.flower_user)), ("FLOWER_PASSWORD", self.flower_password)):
            text = secret.get_secret_value() if secret else ""
            # Flower compares only ASCII, and browsers do not agree on how to send anything else.
            if not (text.isascii() and text.isprintable()) or (name == "FLOWER_USER" and ":" in text):
                raise ValueError(f"{name}: Flower takes printable ASCII, and no colon in the user")
        if self.notify_webhook_url is not None and self.notify_webhook_secret is None:
            raise ValueError("NOTIFY_WEBHOOK_SECRET is missing: NOTIFY_WEBHOOK_URL is given and notices are signed")
        if self.notify_webhook_secret is not None:
            try:
                signing_key(self.notify_webhook_secret.get_secret_value())
            except ValueError as wrong:
                raise ValueError(f"NOTIFY_WEBHOOK_SECRET: {wrong}") from None
        return self


def flower_login(settings: Settings) -> str:
    """`user:password`. Raises SettingsError, one line, for one that is missing."""
    if settings.flower_password is None:
        raise SettingsError("FLOWER_PASSWORD is missing: Flower shows tasks and workers to whoever reaches it")
    return f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"


def secrets_of(settings: Settings) -> list[str]:
    """Every secret that must never stand in a log line; of an address, its password."""
    secrets: list[str] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            text = value.get_secret_value()
            secrets.extend(addresses.secrets_in(text) if "://" in text else [text])
    for url in settings.notify_urls:
        secrets.extend(addresses.secrets_in_notify_url(url.get_secret_value()))
    return [secret for secret in secrets if secret]


NAMES = frozenset(name.upper() for name in Settings.model_fields)
"""Every variable that is read."""
PROCESS_NAMES = frozenset(("FLOWER_ADDRESS", "LLM_REFRESH_POSTGRES_BIN", "LLM_REFRESH_VALKEY_SERVER"))
"""What the process files read beside them."""
_OF_COMPOSE = frozenset(("LLM_REFRESH_VERSION", "WEB_ADDRESS"))
_OF_SERVICES = frozenset(("LLM_REFRESH_URL", "LLM_REFRESH_TOKEN"))
"""What the examples for services read (docs/services.md)."""


def environment_with_files(environ: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """The variables that are set, from `.env` and, above it, the environment; NAME_FILE names a file with the value.

    An empty value counts as not set. Raises SettingsError for a file that cannot be read.
    """
    try:
        return environment.merge_variables(NAMES, environ, dotenv)
    except environment.EnvironmentFault as fault:
        raise SettingsError(str(fault)) from None


def misnamed(environ: Mapping[str, str], dotenv: Path | None) -> list[str]:
    """A line for each variable that looks like one of ours and is read by nobody. Raises SettingsError."""
    try:
        names = {*environ, *environment.read_dotenv(dotenv)}
    except environment.EnvironmentFault as fault:
        raise SettingsError(str(fault)) from None
    alike = environment.misnamed(names, NAMES | PROCESS_NAMES | _OF_COMPOSE | _OF_SERVICES)
    return [
        f"{name} is not read{f': {similar} is' if similar else ', though it looks like ours'}"
        for name, similar in alike
    ]


def with_local_state(variables: dict[str, str]) -> dict[str, str]:
    """Fill in what `make up` left in LLM_REFRESH_HOME, when neither the mode nor a database is given."""
    if "LLM_REFRESH_ENV" in variables or "DATABASE_URL" in variables:
        return variables
    state = Path(variables.get("LLM_REFRESH_HOME", ".local")) / environment.STATE_FILE
    try:
        state_values = json.loads(state.read_text(encoding="utf-8"))
        ours = {name: str(value) for name, value in state_values.items() if name in NAMES}
    except FileNotFoundError:
        return variables
    except (OSError, ValueError, AttributeError) as error:
        raise SettingsError(f"LLM_REFRESH_HOME: {state} cannot be read ({type(error).__name__}); delete it") from None
    return ours | variables


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
    message = words_of(first)
    if not first["loc"]:
        return message
    name = str(first["loc"][0]).upper()
    if first["type"] == "missing":
        return f"{name} is missing: set it, name a file with {name}_FILE, or use `make up` for local servers"
    return f"{name}: {message}"
