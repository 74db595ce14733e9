"""Who is calling: a JWT becomes a role and a subject, down to PostgreSQL."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import jwt
from jwt import PyJWKClient

from shared.db import Caller, Role
from shared.settings import Settings
from worker.web.problems import Problem

LOCAL = Caller("service_role", "local")
MAX_REMEMBERED = 2048
MAX_SUBJECT_CHARS = 255
JWKS_TIMEOUT_SECONDS = 5
_BY_KEY_SET = ["RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "EdDSA"]


@dataclass(frozen=True, slots=True)
class _Verified:
    caller: Caller
    expires: float


class Authenticator:
    """Verifies tokens, and remembers those it has verified: bounded, and never past their `exp`."""

    def __init__(self, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._off = settings.auth_off
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._audience = settings.jwt_audience
        self._now = now
        self._remembered: OrderedDict[str, _Verified] = OrderedDict()
        self._keys = PyJWKClient(settings.jwks_url, timeout=JWKS_TIMEOUT_SECONDS) if settings.jwks_url else None

    def caller(self, authorization: str | None) -> Caller:
        """The caller of a request by its `Authorization` header. Raises Problem 401."""
        if self._off:
            return LOCAL
        token = _bearer(authorization)
        if token is None:
            raise _unauthenticated("send a token: Authorization: Bearer <JWT>")
        known = self._remembered.get(token)
        if known is not None and self._now() < known.expires:
            return known.caller
        self._remembered.pop(token, None)
        verified = self._verify(token)
        self._remembered[token] = verified
        while len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return verified.caller

    def remembers(self, authorization: str | None) -> bool:
        """Whether this header's token was verified before and still holds: `caller` would let it in at once.

        Never while auth is off: a caller is then known by other checks than a token.
        """
        known = None if self._off else self._remembered.get(_bearer(authorization) or "")
        return known is not None and self._now() < known.expires

    def _verify(self, token: str) -> _Verified:
        try:
            claims = self._decode(token)
        except jwt.ExpiredSignatureError:
            raise _unauthenticated("the token has expired; get a new one") from None
        except jwt.PyJWKClientConnectionError:
            raise Problem(503, "keys_unavailable", "the key set at JWKS_URL cannot be fetched; try again") from None
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _unauthenticated(f"the token is not valid ({type(error).__name__})") from None
        role, subject = claims.get("role"), claims.get("sub")
        if role not in get_args(Role):
            raise _unauthenticated("the token's role must be authenticated or service_role")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS or not subject.isprintable():
            raise _unauthenticated(f"the token's sub must be a text of 1 to {MAX_SUBJECT_CHARS} characters")
        known: Role = "service_role" if role == "service_role" else "authenticated"
        return _Verified(Caller(known, subject), float(claims["exp"]))

    def _decode(self, token: str) -> dict[str, Any]:
        options: Any = {"require": ["exp", "sub"], "verify_aud": self._audience is not None}
        use_key_set = self._keys is not None and jwt.get_unverified_header(token).get("alg") != "HS256"
        if use_key_set and self._keys is not None:
            key: Any = self._keys.get_signing_key_from_jwt(token).key
            return jwt.decode(token, key, algorithms=_BY_KEY_SET, audience=self._audience, options=options)
        if self._secret is None:
            raise jwt.InvalidAlgorithmError("HS256 is not in use here")
        return jwt.decode(token, self._secret, algorithms=["HS256"], audience=self._audience, options=options)


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _unauthenticated(detail: str) -> Problem:
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": "Bearer"})
