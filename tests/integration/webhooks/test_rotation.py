"""After a rotation of its secret an endpoint gets events that are signed by both secrets, until the grace is over."""

from __future__ import annotations

from typing import Any

import pytest

from shared.webhooks import endpoints
from tests.integration.webhooks.conftest import Hooks
from tests.support import openai_sdk as openai
from tests.support.receiver import Receiver


def rotate(hooks: Hooks, endpoint: dict[str, Any], *, grace_hours: float = 24) -> str:
    with hooks.catalogue.database.transaction() as connection:
        secret: str = endpoints.rotate(connection, endpoint["id"], grace_hours=grace_hours)["secret"]
    return secret


def grace_ends(hooks: Hooks) -> None:
    hooks.catalogue.run("UPDATE llm_webhook_endpoints SET previous_until = now()")


def accepted(hook: Receiver, *secrets: str) -> list[bool]:
    """Whether OpenAI's SDK takes the event that came last, with each of these secrets."""

    def takes(secret: str) -> bool:
        try:
            openai.OpenAI(api_key="any").webhooks.unwrap(hook.posts[-1].body, hook.posts[-1].headers, secret=secret)
        except openai.InvalidWebhookSignatureError:
            return False
        return True

    return [takes(secret) for secret in secrets]


@pytest.mark.parametrize("fails_first", [False, True])
def test_both_secrets_sign_until_the_grace_is_over(hooks: Hooks, hook: Receiver, fails_first: bool) -> None:
    endpoint = hooks.event(hook.url)
    if fails_first:  # then it is tried with one event at a time, by another statement
        hook.answers = [500]
        hooks.send()
        hooks.later(minutes=5)
    new = rotate(hooks, endpoint)
    hooks.send()
    assert hook.posts[-1].headers["webhook-signature"].count("v1,") == 2
    assert accepted(hook, endpoint["secret"], new) == [True, True]
    grace_ends(hooks)
    hooks.finish(hooks.ask())
    hooks.send()
    assert hook.posts[-1].headers["webhook-signature"].count("v1,") == 1
    assert accepted(hook, endpoint["secret"], new) == [False, True]


def test_without_a_grace_the_secret_before_ends_at_once(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    new = rotate(hooks, endpoint, grace_hours=0)
    hooks.send()
    assert accepted(hook, endpoint["secret"], new) == [False, True]


def test_the_last_two_secrets_sign_after_two_rotations(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.event(hook.url)
    second = rotate(hooks, endpoint)
    third = rotate(hooks, endpoint)
    hooks.send()
    assert accepted(hook, endpoint["secret"], second, third) == [False, True, True]


def test_a_secret_that_does_not_sign_any_more_is_not_kept(hooks: Hooks, hook: Receiver) -> None:
    endpoint = hooks.endpoint(hook.url)
    new = rotate(hooks, endpoint)
    hooks.sender().disable_failing()
    assert hooks.state(endpoint)["previous_secret"] == endpoint["secret"]
    grace_ends(hooks)
    hooks.sender().disable_failing()
    row = hooks.state(endpoint)
    assert (row["secret"], row["previous_secret"], row["previous_until"]) == (new, None, None)
