"""How long a key is taken from memory."""

from dataclasses import dataclass, field

import pytest

from shared.api_keys import ApiKeyMatch, KeyRefused
from shared.db import Caller
from shared.settings import Settings
from worker.web.auth import Authenticator
from worker.web.problems import Problem

KEY = f"lr_{'a' * 12}_{'b' * 43}"
HEADER = f"Bearer {KEY}"
ANNA = Caller("authenticated", "anna")


@dataclass
class Keys:
    """The keys as PostgreSQL has them, and how often it was asked."""

    now: float = 1000.0
    holds: bool = True
    seconds_left: float = float("inf")
    looks: list[float] = field(default_factory=list)

    def verify(self, token: str) -> ApiKeyMatch:
        assert token == KEY
        self.looks.append(self.now)
        if not self.holds:
            raise KeyRefused("the API key was revoked")
        return ApiKeyMatch("a" * 12, ANNA, self.seconds_left, use_unrecorded=False)


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def authenticator(keys: Keys) -> Authenticator:
    settings = Settings.model_validate(
        {
            "llm_refresh_env": "local",
            "database_url": "postgresql://a@localhost/b",
            "redis_url": "redis://localhost",
            "jwt_secret": "a-secret-for-these-tests-of-more-than-32-bytes",
        }
    )
    return Authenticator(settings, verify_key=keys.verify, now=lambda: keys.now)


def test_it_is_looked_at_again_before_five_seconds_have_passed(keys: Keys, authenticator: Authenticator) -> None:
    for tenths in range(100):
        keys.now = 1000 + tenths / 10
        assert authenticator.caller(HEADER) == ANNA
    assert len(keys.looks) == 4
    keys.holds = False
    revoked_at = keys.now
    while keys.now < revoked_at + 5:
        keys.now += 0.1
        try:
            authenticator.caller(HEADER)
        except Problem:
            break
    assert keys.now < revoked_at + 5
    with pytest.raises(Problem):
        authenticator.caller(HEADER)
    assert authenticator.cached_caller(HEADER) is None


def test_its_own_end_comes_before_that(keys: Keys, authenticator: Authenticator) -> None:
    keys.seconds_left = 1.0
    authenticator.caller(HEADER)
    keys.holds, keys.now = False, 1001.0
    assert authenticator.cached_caller(HEADER) is None
    with pytest.raises(Problem):
        authenticator.caller(HEADER)


def test_who_comes_while_it_is_looked_at_again_goes_on_with_what_is_known(keys: Keys) -> None:
    seen: list[Caller] = []

    def verify(token: str) -> ApiKeyMatch:
        if len(keys.looks) == 1:
            seen.append(inner.caller(HEADER))  # another request, in the middle of this one's look
        return keys.verify(token)

    settings = Settings.model_validate(
        {
            "llm_refresh_env": "local",
            "database_url": "postgresql://a@localhost/b",
            "redis_url": "redis://localhost",
            "jwt_secret": "a-secret-for-these-tests-of-more-than-32-bytes",
        }
    )
    inner = Authenticator(settings, verify_key=verify, now=lambda: keys.now)
    inner.caller(HEADER)
    keys.now += 3.5
    assert inner.caller(HEADER) == ANNA
    assert (seen, len(keys.looks)) == ([ANNA], 2)
