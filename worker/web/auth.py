"""Who is calling: a JWT becomes a role and a subject, down to PostgreSQL."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jwt

from shared.api_keys import ApiKeyMatch, KeyRefused, is_api_key
from shared.db import Caller
from shared.settings import Settings
from worker.web.key_set import KeySet, KeysUnavailable, UnknownKey, fetch_keys
from worker.web.problems import Problem
from worker.web.token_claims import ClaimsRefused, Rules, caller_of

LOCAL = Caller("service_role", "local")
MAX_CACHED = 2048
KEY_SECONDS = 4.5
"""So long an API key is taken from memory; what is changed about it holds everywhere within five."""
KEY_DUE_SECONDS = 3.0
_BY_KEY_SET = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "EdDSA"]
_UNCHECKED: Any = {f"verify_{name}": False for name in ("exp", "iat", "nbf", "aud", "iss", "sub", "jti")}
"""Claims are looked at by `claims.caller_of`, PyJWT looks at the signature."""


@dataclass(frozen=True, slots=True)
class _CachedCaller:
    """`due`: from then on the next request looks again, while others go on with what is known."""

    caller: Caller
    expires: float
    due: float


class Authenticator:
    """Verifies tokens, and remembers those it has verified: bounded, and never past their `exp`."""

    def __init__(
        self,
        settings: Settings,
        *,
        verify_key: Callable[[str], ApiKeyMatch] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`verify_key` says whose an API key is; it raises KeyRefused, and what transactions raise."""
        self._verify_key = verify_key
        self._off = settings.auth_off
        self._secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        self._rules = Rules.of(settings)
        self._now = now
        self._cache: OrderedDict[str, _CachedCaller] = OrderedDict()
        url = settings.jwks_url
        self._keys = None if url is None else KeySet(lambda: fetch_keys(url))

    def caller(self, authorization: str | None) -> Caller:
        """The caller of a request by its `Authorization` header. Raises Problem 401."""
        if self._off:
            return LOCAL
        token = _bearer(authorization)
        if token is None:
            raise _unauthenticated("send a token: Authorization: Bearer <JWT or API key>")
        entry = self._cache.get(token)
        if entry is not None and self._now() < entry.due:
            return entry.caller
        if entry is not None and self._now() < entry.expires:
            self._cache[token] = replace(entry, due=entry.expires)
        else:
            self._cache.pop(token, None)
        verified = self._verify(token)
        self._cache[token] = verified
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return verified.caller

    def cached_caller(self, authorization: str | None) -> Caller | None:
        """Who this header's token stands for where it was verified before and still holds: `caller` lets it in at once.

        Never while auth is off: a caller is then known by other checks than a token.
        """
        verified = None if self._off else self._cache.get(_bearer(authorization) or "")
        return verified.caller if verified is not None and self._now() < verified.due else None

    def _verify(self, token: str) -> _CachedCaller:
        if is_api_key(token):
            return self._verify_api_key(token)
        try:
            caller, expires = caller_of(self._decode(token), self._rules, self._now())
        except ClaimsRefused as refused:
            raise _unauthenticated(str(refused)) from None
        except KeysUnavailable:
            raise Problem(
                503,
                "keys_unavailable",
                "the keys that tokens are checked with cannot be fetched at the moment; try again",
            ) from None
        # Whatever stands in a token that anybody may send: numbers without end and nesting without end, too.
        except (jwt.PyJWTError, UnknownKey, ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise _unauthenticated("the token is not valid", cause=type(error).__name__) from None
        return _CachedCaller(caller, expires, expires)

    def _verify_api_key(self, token: str) -> _CachedCaller:
        if self._verify_key is None:
            raise _unauthenticated("API keys are not looked at here")
        asked_at = self._now()  # before PostgreSQL is: how long it takes counts, too
        try:
            key = self._verify_key(token)
        except KeyRefused as refused:
            self._cache.pop(token, None)
            raise _unauthenticated(str(refused)) from None
        seconds = min(KEY_SECONDS, key.seconds_left)
        return _CachedCaller(key.caller, asked_at + seconds, asked_at + min(KEY_DUE_SECONDS, seconds))

    def _decode(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        if self._keys is not None and header.get("alg") != "HS256":
            if header.get("alg") not in _BY_KEY_SET:  # before the key set is asked
                raise jwt.InvalidAlgorithmError("not in use here")
            key = self._keys.key(header.get("kid")).key
            return jwt.decode(token, key, algorithms=_BY_KEY_SET, options=_UNCHECKED)
        if self._secret is None:
            raise jwt.InvalidAlgorithmError("HS256 is not in use here")
        return jwt.decode(token, self._secret, algorithms=["HS256"], options=_UNCHECKED)


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _unauthenticated(detail: str, *, cause: str | None = None) -> Problem:
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": "Bearer"}, cause=cause)
