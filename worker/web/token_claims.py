"""What a verified token says: until when, for whom, and who is calling. Pure: claims in, a caller out.

Claims come from whoever signs tokens, so each may be absent, of any type and of any size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.db import Caller
from shared.roles import ROLES, Role
from shared.settings import Settings

LEEWAY_SECONDS = 30.0
"""How far the clock of who signs tokens may be ahead of ours. A token that has expired is expired at once."""
LATEST = 253_402_300_799.0
"""The end of the year 9999: some write that for "never". What lies behind it is no time."""
MAX_SUBJECT_CHARS = 255


class ClaimsRefused(Exception):
    """The claims let nobody in. The text says which one is wrong, and holds no value of the token."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How claims are read: see JWT_AUDIENCE, JWT_ROLE_CLAIM and JWT_ROLE_MAP."""

    audience: str | None = None
    role_claims: tuple[str, ...] = ("role",)
    role_map: Mapping[str, Role] | None = None
    """Without it our own names of roles mean themselves; with it nothing else does."""
    lists: bool = True
    """Whether a claim may hold several names. Where nobody has said how roles are read, a role is one text."""

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        names = tuple(settings.jwt_role_claim.split(","))
        described = "jwt_role_claim" in settings.model_fields_set or bool(settings.jwt_role_map)
        return cls(settings.jwt_audience, names, dict(settings.jwt_role_map) or None, lists=described)


def caller_of(claims: Mapping[str, Any], rules: Rules, now: float) -> tuple[Caller, float]:
    """Who calls, and until when (Unix seconds) the token holds. Raises ClaimsRefused."""
    expires = _time(claims, "exp")
    if expires is None:
        raise ClaimsRefused("the token has no exp")
    if expires <= now:
        raise ClaimsRefused("the token has expired; get a new one")
    for name in ("iat", "nbf"):
        moment = _time(claims, name)
        if moment is not None and moment > now + LEEWAY_SECONDS:
            raise ClaimsRefused(f"the token's {name} lies ahead: it does not hold yet")
    if rules.audience is not None and not _is_for(claims, rules.audience):
        raise ClaimsRefused("the token is for another audience")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable():
        raise ClaimsRefused(f"the token's sub must be a text of 1 to {MAX_SUBJECT_CHARS} characters")
    return Caller(_role(claims, rules), subject), expires


def claims_for(role: Role, rules: Rules) -> dict[str, Any]:
    """The claims that make a token of this role. Raises LookupError where the map leads to it from no name."""
    names = rules.role_map or {name: name for name in ROLES}
    value: Any = next((name for name, name_role in names.items() if name_role == role), None)
    if value is None:
        raise LookupError(role)
    path = rules.role_claims[0]
    *outer, last = [path] if "://" in path else path.split(".")
    value = {last: value}
    for name in reversed(outer):
        value = {name: value}
    claims: dict[str, Any] = value
    return claims if rules.audience is None else {"aud": rules.audience, **claims}


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # Compared before it is converted: an int of any length is one, and too long for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LATEST:
        raise ClaimsRefused(f"the token's {name} is no time")
    return math.floor(value) if name == "exp" else float(value)


def _is_for(claims: Mapping[str, Any], audience: str) -> bool:
    audiences = claims.get("aud")
    if audiences is None:
        # Amazon Cognito's access tokens have no aud; their client_id is the audience of its id tokens (source: Amazon
        # Cognito's developer guide, "Understanding the access token").
        audiences = claims.get("client_id")
    return audience in audiences if isinstance(audiences, list) else bool(audiences == audience)


def _role(claims: Mapping[str, Any], rules: Rules) -> Role:
    if rules.lists:
        names = {name for path in rules.role_claims for name in _names_at(claims, path)}
    else:
        names = {value for path in rules.role_claims if isinstance(value := claims.get(path), str)}
    role_of_name: Mapping[str, Role] = {role: role for role in ROLES} if rules.role_map is None else rules.role_map
    roles = {role_of_name[name] for name in names if name in role_of_name}
    for role in ROLES:
        if role in roles:
            return role
    role_names = ", ".join(role_of_name)
    raise ClaimsRefused(
        f"the token's claim {' or '.join(rules.role_claims)} names no role that is known here ({role_names})"
    )


def _names_at(claims: Mapping[str, Any], path: str) -> Iterator[str]:
    """The texts at a path: a claim of that very name, which may hold dots, else the longest beginning that is one."""
    if path in claims:
        yield from _texts(claims[path])
        return
    place = len(path)
    while (place := path.rfind(".", 0, place)) > 0:
        inner = claims.get(path[:place])
        if isinstance(inner, dict):
            yield from _names_at(inner, path[place + 1 :])
            return


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from value.split()  # a scope (RFC 8693, section 4.2) is one text with spaces
    elif isinstance(value, list):
        yield from (item for item in value if isinstance(item, str))
