"""What a person reads of a notice, and what may be shown of where it goes."""

from datetime import UTC, datetime
from uuid import UUID

import pytest

from shared import addresses
from shared.notices.deliveries import Backlog, Waiting
from shared.notices.people import LONGEST_TEXT, message_of, receiver_id
from shared.settings import SettingsError, read_settings, secrets_of
from worker.doctor import checks

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/"
MAIL = "mailtos://watch:p%40ss-w0rd@example.com?to=ops@example.com,a@example.com"
LOCAL = {"LLM_REFRESH_ENV": "local", "DATABASE_URL": "postgresql://a:b@h/d", "REDIS_URL": "redis://h"}
WRITTEN = datetime(2026, 3, 1, 0, 0, 7, tzinfo=UTC)


def waiting(kind: str, text: str) -> Waiting:
    return Waiting(UUID(int=1), kind, UUID(int=2), WRITTEN, {"text": text}, 1)


def test_a_message_has_a_title_its_text_and_where_to_look() -> None:
    message = message_of(waiting("held", "The list was held: 3 of 4 are gone"))
    assert (message["title"], message["type"]) == ("LLM Refresh: the list was held", "warning")
    assert message["body"].splitlines() == [
        "The list was held: 3 of 4 are gone",
        "",
        f"Run {UUID(int=2)}, 2026-03-01 00:00 UTC; notice {UUID(int=1)}",
    ]


def test_a_notice_of_no_run_names_none() -> None:
    message = message_of(Waiting(UUID(int=1), "webhook_disabled", None, WRITTEN, {"text": "It is off."}, 1))
    assert message["title"] == "LLM Refresh: a webhook was switched off"
    assert message["body"].splitlines()[-1] == f"2026-03-01 00:00 UTC; notice {UUID(int=1)}"


def test_a_kind_that_has_no_title_yet_is_its_own() -> None:
    assert message_of(waiting("news", "x"))["title"] == "LLM Refresh: news"


def test_a_long_text_is_cut() -> None:
    first, *_ = message_of(waiting("failed", "x" * 9000))["body"].splitlines()
    assert len(first) == LONGEST_TEXT


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n", "\r\n  "])
def test_addresses_are_separated_by_spaces_lines_or_commas(between: str) -> None:
    assert addresses.notify_urls(between.join((SLACK, MAIL, SLACK))) == (SLACK, MAIL)


@pytest.mark.parametrize("wrong", ["T1JJ3T3L2/secret", "slack:T1JJ3T3L2", f"{SLACK} secret word", "://secret"])
def test_what_is_no_address_is_named_by_its_place_and_not_repeated(wrong: str) -> None:
    with pytest.raises(SettingsError) as error:
        read_settings(LOCAL | {"NOTIFY_URLS": wrong})
    assert str(error.value).startswith("NOTIFY_URLS: address 1 must be like")
    assert "secret" not in str(error.value).removeprefix("NOTIFY_URLS: address 1 must be like mailto://user:password@")


def test_no_part_of_an_address_that_is_like_a_token_is_shown() -> None:
    settings = read_settings(LOCAL | {"NOTIFY_URLS": f"{SLACK} {MAIL}"})
    secrets = secrets_of(settings)
    for secret in ("T1JJ3T3L2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "p%40ss-w0rd", "p@ss-w0rd", SLACK, MAIL):
        assert secret in secrets
    assert not {"example.com", "watch", "slack", "mailtos"} & set(secrets)
    assert "TIiajkdnlazkcOXrIdevi7FQ" not in repr(settings)
    assert settings.notifies


def test_a_receiver_has_one_name_that_tells_its_service_alone() -> None:
    assert receiver_id(SLACK) == receiver_id(SLACK)
    assert receiver_id(SLACK) != receiver_id(SLACK.replace("T1", "T2"))
    assert receiver_id(SLACK).startswith("slack-")
    assert len(receiver_id(SLACK)) == len("slack-") + 12


def test_the_doctor_tells_what_waits_for_whom_and_why() -> None:
    receivers = {"slack-1": "address 1 of NOTIFY_URLS (slack)", "webhook": "NOTIFY_WEBHOOK_URL"}
    late = Backlog("slack-1", 213, WRITTEN, True, "the receiver answered HTTP 403")
    fresh = Backlog("webhook", 1, WRITTEN, False, None)
    (finding,) = checks.of_notices(receivers, [late, fresh], 213)
    assert finding.level == "warning"
    assert finding.detail == (
        "address 1 of NOTIFY_URLS (slack): 213 not delivered, the oldest of 2026-03-01 00:00 UTC:"
        " the receiver answered HTTP 403"
    )
    assert [finding.level for finding in checks.of_notices(receivers, [fresh], 0)] == ["good"]
    assert [finding.level for finding in checks.of_notices({}, [], 3)] == ["warning"]
    assert not list(checks.of_notices({}, [], 0))
