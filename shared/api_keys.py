"""API keys: another way to a subject and a role. A key is shown once; what is stored of it is a digest of its secret.

`lr_<id>_<secret>`: 12 and 43 letters and digits, so that a scanner of secrets finds each, and a double click takes all
of it. The secret has 256 bits: a plain SHA-256 of it can be guessed by nobody.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.db import Caller
from shared.models import llm_api_keys as keys
from shared.roles import Role

PREFIX = "lr_"
DEFAULT_GRACE_HOURS = 24
MAX_GRACE_HOURS = 30 * 24
MAX_EXPIRY_DAYS = 3660
_ID_CHARS, _SECRET_CHARS = 12, 43
_FORM = re.compile(rf"lr_([a-z0-9]{{{_ID_CHARS}}})_([A-Za-z0-9]{{{_SECRET_CHARS}}})")

SHOWN = (
    keys.c.id,
    keys.c.name,
    keys.c.subject,
    keys.c.role,
    keys.c.created_at,
    keys.c.created_by,
    keys.c.expires_at,
    keys.c.last_used_at,
    keys.c.rotated_at,
    keys.c.previous_until,
    keys.c.revoked_at,
    keys.c.revoked_by,
)


class KeyRefused(Exception):
    """The key lets nobody in. The text says why, and holds nothing of the key."""


class UnknownApiKey(Exception):
    """No key has this id, or it was revoked."""


def _visible(text: str) -> str:
    if not text.isprintable() or not text.strip():
        raise ValueError("must be one line of visible characters")
    return text


Line = Annotated[str, AfterValidator(_visible)]


class NewKey(BaseModel):
    """The body of `POST /api/keys`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[Line, Field(max_length=100, description="What it is for")]
    subject: Annotated[
        Line, Field(max_length=255, description="Whose it is: chats, limits and usage are this caller's")
    ]
    role: Role = "authenticated"
    expires_in_days: Annotated[float | None, Field(gt=0, le=MAX_EXPIRY_DAYS, description="null: never")] = None


class Rotation(BaseModel):
    """The body of `POST /api/keys/{id}/rotate`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    grace_hours: Annotated[
        float, Field(ge=0, le=MAX_GRACE_HOURS, description="So long the key before holds as well")
    ] = DEFAULT_GRACE_HOURS


@dataclass(frozen=True, slots=True)
class ApiKeyMatch:
    """A key that holds: who calls, for how many seconds more at most, and whether its use is to be noted."""

    key_id: str
    caller: Caller
    seconds_left: float
    use_unrecorded: bool


def create(connection: sa.Connection, new: NewKey, *, actor: str) -> dict[str, Any]:
    """Store a new key; returns its row, and the key itself as `key`: it cannot be shown again."""
    key_id = _random(_ID_CHARS, string.ascii_lowercase + string.digits)
    secret = _new_secret()
    days = new.expires_in_days
    # Inserts one key (llm_api_keys_pkey).
    row = connection.execute(
        keys.insert()
        .values(
            id=key_id,
            name=new.name,
            subject=new.subject,
            role=new.role,
            secret_sha256=_digest(secret),
            created_by=actor,
            expires_at=None if days is None else _from_now(days * 86_400),
        )
        .returning(*SHOWN)
    )
    return dict(row.mappings().one()) | {"key": f"{PREFIX}{key_id}_{secret}"}


def rotate(connection: sa.Connection, key_id: str, *, grace_hours: float) -> dict[str, Any]:
    """Give a key another secret; the one before holds for so long as well. Raises UnknownApiKey.

    One that was still holding from an earlier rotation ends.
    """
    secret = _new_secret()
    # Gives one key that was not revoked another secret, by llm_api_keys_pkey.
    row = connection.execute(
        keys.update()
        .where(keys.c.id == key_id, keys.c.revoked_at.is_(None))
        .values(
            previous_sha256=keys.c.secret_sha256,
            previous_until=_from_now(grace_hours * 3600),
            secret_sha256=_digest(secret),
            rotated_at=sa.func.now(),
        )
        .returning(*SHOWN)
    )
    return _one(row, key_id) | {"key": f"{PREFIX}{key_id}_{secret}"}


def revoke(connection: sa.Connection, key_id: str, *, actor: str) -> dict[str, Any]:
    """End a key; one that was revoked before stays as it was. Its row is kept. Raises UnknownApiKey."""
    # Ends one key, by llm_api_keys_pkey.
    row = connection.execute(
        keys.update()
        .where(keys.c.id == key_id)
        .values(
            revoked_at=sa.func.coalesce(keys.c.revoked_at, sa.func.now()),
            revoked_by=sa.func.coalesce(keys.c.revoked_by, actor),
        )
        .returning(*SHOWN)
    )
    return _one(row, key_id)


def list_keys(connection: sa.Connection) -> list[dict[str, Any]]:
    """All keys, those that were revoked too, the newest first."""
    # Selects all keys; they are few, and no index has their order.
    rows = connection.execute(sa.select(*SHOWN).order_by(keys.c.created_at.desc(), keys.c.id))
    return [dict(row) for row in rows.mappings()]


def is_api_key(token: str) -> bool:
    """Whether a token is meant to be a key, and no JWT."""
    return token.startswith(PREFIX)


# Selects one key and the seconds that it holds, by llm_api_keys_pkey.
_FIND = """
SELECT subject, role, secret_sha256, previous_sha256, revoked_at IS NOT NULL AS revoked,
  extract(epoch FROM expires_at - now())::float8 AS seconds_left,
  extract(epoch FROM previous_until - now())::float8 AS previous_seconds_left,
  last_used_at IS NULL OR last_used_at < now() - interval '1 minute' AS use_unrecorded
FROM llm_api_keys WHERE id = %s
"""


def find(connection: sa.Connection, token: str) -> ApiKeyMatch:
    """The key that this token is. Raises KeyRefused."""
    form = _FORM.fullmatch(token)
    row = connection.exec_driver_sql(_FIND, (form[1],)).first() if form is not None else None
    match = None if form is None or row is None else _match(row, form[2])
    if form is None or row is None or match is None:
        raise KeyRefused("unknown API key")
    if row.revoked:
        raise KeyRefused("the API key was revoked")
    seconds_left = float("inf") if row.seconds_left is None else row.seconds_left
    if seconds_left <= 0:
        raise KeyRefused("the API key has expired")
    if match == "previous":
        seconds_left = min(seconds_left, row.previous_seconds_left)
        if seconds_left <= 0:
            raise KeyRefused("the API key was replaced by another one")
    return ApiKeyMatch(form[1], Caller(row.role, row.subject), seconds_left, row.use_unrecorded)


# Writes that a key is in use, to the minute, by llm_api_keys_pkey: a key that is used all the time costs one write in
# each. Whoever writes it at this moment does it.
_RECORD_USE = """
UPDATE llm_api_keys SET last_used_at = date_trunc('minute', now())
WHERE id = (SELECT id FROM llm_api_keys WHERE id = %s AND (last_used_at IS NULL
              OR last_used_at < now() - interval '1 minute') FOR UPDATE SKIP LOCKED)
"""


def record_use(connection: sa.Connection, key_id: str) -> None:
    """Write that a key is in use, to the minute."""
    connection.exec_driver_sql(_RECORD_USE, (key_id,))


def _match(row: sa.Row[Any], secret: str) -> Literal["current", "previous"] | None:
    digest = _digest(secret)
    if hmac.compare_digest(row.secret_sha256, digest):
        return "current"
    if row.previous_sha256 is not None and hmac.compare_digest(row.previous_sha256, digest):
        return "previous"
    return None


def _one(rows: sa.CursorResult[Any], key_id: str) -> dict[str, Any]:
    row = rows.mappings().first()
    if row is None:
        raise UnknownApiKey(key_id)
    return dict(row)


def _from_now(seconds: float) -> sa.TextClause:
    return sa.text("now() + make_interval(secs => :seconds)").bindparams(seconds=seconds)


def _new_secret() -> str:
    return _random(_SECRET_CHARS, string.ascii_letters + string.digits)


def _random(length: int, alphabet: str) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
