"""Signatures of Standard Webhooks, by the published example, and by OpenAI's SDK."""

import base64
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.signing import PREFIX, new_secret, signed_headers, signing_key, verify
from tests.support import openai_sdk as openai

# The example of the reference libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, BODY, AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', 1614265330
HEADERS = {
    "webhook-id": ID,
    "webhook-timestamp": "1614265330",
    "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}


def test_the_published_example_is_signed_as_published() -> None:
    assert signed_headers([SECRET], BODY, message_id=ID, timestamp=AT) == HEADERS


def test_one_good_signature_among_several_is_enough() -> None:
    several = f"v1,bm9wZQ== v1a,bm9wZQ== {HEADERS['webhook-signature']}"
    assert verify(SECRET, BODY, HEADERS | {"webhook-signature": several}, now=AT)


@pytest.mark.parametrize(
    ("secret", "body", "now", "changed"),
    [
        ("whsec_" + "QUJD" * 8, BODY, AT, {}),
        (SECRET, BODY + b" ", AT, {}),
        (SECRET, BODY, AT + 301, {}),
        (SECRET, BODY, AT - 301, {}),
        (SECRET, BODY, AT, {"webhook-id": "msg_other"}),
        (SECRET, BODY, AT, {"webhook-id": ""}),
        (SECRET, BODY, AT, {"webhook-timestamp": str(AT + 1)}),
        (SECRET, BODY, AT, {"webhook-timestamp": "now"}),
        (SECRET, BODY, AT, {"webhook-signature": ""}),
        (SECRET, BODY, AT, {"webhook-signature": "v1,é"}),
        (SECRET, BODY, AT, {"webhook-signature": HEADERS["webhook-signature"].removeprefix("v1,")}),
    ],
)
def test_another_secret_body_id_or_time_is_refused(secret: str, body: bytes, now: int, changed: dict[str, str]) -> None:
    assert not verify(secret, body, HEADERS | changed, now=now)


@pytest.fixture(scope="module")
def sdk() -> openai.OpenAI:
    return openai.OpenAI(api_key="any")


@given(body=st.text().map(str.encode), key=st.binary(min_size=24, max_size=64), message_id=st.uuids().map(str))
def test_the_sdk_of_openai_takes_every_signature(sdk: openai.OpenAI, body: bytes, key: bytes, message_id: str) -> None:
    secret = PREFIX + base64.b64encode(key).decode()
    headers = signed_headers([secret], body, message_id=message_id, timestamp=int(time.time()))
    assert verify(secret, body, headers, now=time.time())
    sdk.webhooks.verify_signature(body, headers, secret=secret)


def test_a_secret_of_before_is_its_own_text_as_it_is_to_the_sdk(sdk: openai.OpenAI) -> None:
    headers = signed_headers(["0123abc"], BODY, message_id=ID, timestamp=int(time.time()))
    sdk.webhooks.verify_signature(BODY, headers, secret="0123abc")


def test_a_new_secret_has_32_random_bytes() -> None:
    assert len(signing_key(new_secret())) == 32
    assert new_secret() != new_secret()


@pytest.mark.parametrize("text", ["", "x", "MfKQ9r8G", "a" * 31, "é" * 32, base64.b64encode(bytes(65)).decode()])
def test_what_is_no_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="base64 of 24 to 64 bytes") as refused:
        signing_key(PREFIX + text)
    assert not text or text not in str(refused.value).removeprefix(PREFIX).split()


def test_an_id_that_could_move_the_border_to_the_body_is_refused() -> None:
    with pytest.raises(ValueError, match="full stop"):
        signed_headers([SECRET], BODY, message_id="a.1", timestamp=AT)
