"""The signature of a notice."""

import pytest

from shared.notices.signing import sign, verify

SECRET, BODY, AT = "secret", b'{"kind":"held"}', 1_800_000_000


def test_it_can_be_checked_with_any_hmac() -> None:
    # printf '1800000000.{"kind":"held"}' | openssl dgst -sha256 -hmac secret
    expected = "t=1800000000,v1=c6ab92e7a690fd2ab110f945b5d1ee9532aa72bc79de1bff624f69d8227961c6"
    assert sign(SECRET, BODY, timestamp=AT) == expected


def test_a_signature_of_now_is_good() -> None:
    assert verify(SECRET, BODY, sign(SECRET, BODY, timestamp=AT), now=AT + 299)


@pytest.mark.parametrize(
    ("secret", "body", "now"),
    [("another", BODY, AT), (SECRET, BODY + b" ", AT), (SECRET, BODY, AT + 301), (SECRET, BODY, AT - 301)],
    ids=["another secret", "another body", "too late", "too early"],
)
def test_another_secret_body_or_time_is_not(secret: str, body: bytes, now: int) -> None:
    assert not verify(secret, body, sign(SECRET, BODY, timestamp=AT), now=now)


@pytest.mark.parametrize("header", ["", "t=,v1=", f"t={AT}", "t=1,v1=zz", f"v1={'0' * 64}", f"t={AT},v1={'0' * 64}"])
def test_what_is_no_signature_is_not(header: str) -> None:
    assert not verify(SECRET, BODY, header, now=AT)
