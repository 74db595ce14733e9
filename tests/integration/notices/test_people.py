"""Notices reach people through Apprise: to a real HTTP server, and by a real mail server."""

import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.refreshing import CatalogueHarness, make_due
from shared.notices.apprise_calls import check
from shared.notices.people import People, receiver_id
from shared.notices.sender import Receiver as Recipient
from shared.notices.sender import Sender
from tests.support.mail_server import MailServer, mail_server
from tests.support.receiver import Receiver, receiver
from tests.support.tools import ROOT

PASSWORD, TOKEN = "hook-pa55word", "t0ken-of-the-channel"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as running:
        yield running


def address_of(hook: Receiver) -> str:
    return f"json://watch:{PASSWORD}@{hook.url.removeprefix('http://')}/{TOKEN}"


def sender(made: CatalogueHarness, url: str, *, seconds: float = 30, others: tuple[str, ...] = ()) -> Sender:
    recipient = Recipient(receiver_id(url), "address 1 of NOTIFY_URLS", People(url, deadline_seconds=seconds))
    return Sender(made.database, recipient, receivers=[recipient.id, *others])


def children() -> list[str]:
    """The command lines of this process's children."""
    ids = [pid for file in Path("/proc/self/task").glob("*/children") for pid in file.read_text().split()]
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in ids]


def test_a_notice_arrives_once_with_what_a_person_needs(written: CatalogueHarness, hook: Receiver) -> None:
    assert sender(written, address_of(hook)).send_waiting() == 1
    make_due(written)
    assert sender(written, address_of(hook)).send_waiting() == 0
    (post,) = hook.posts
    message = json.loads(post.body)
    assert (message["title"], message["type"]) == ("LLM Refresh: a refresh failed", "failure")
    assert message["message"].startswith("The refresh failed: no answer – in <15> s\n\nRun 01")


def test_who_refuses_is_asked_again_and_nothing_of_its_address_is_kept(
    written: CatalogueHarness, hook: Receiver, log: io.StringIO
) -> None:
    hook.answers = [403]
    assert sender(written, address_of(hook)).send_waiting() == 0
    (delivery,) = written.run("SELECT * FROM llm_notice_deliveries")
    assert delivery["last_error"] == "the receiver answered HTTP 403"
    kept = str(
        written.run(
            "SELECT *, (SELECT row_to_json(d) FROM llm_notice_deliveries AS d)::text AS delivery"
            " FROM llm_notice_receivers"
        )
    )
    output = log.getvalue()
    assert "llm_notice.refused" in output
    for secret in (PASSWORD, TOKEN, "watch"):
        assert secret not in kept + output
    make_due(written)
    assert sender(written, address_of(hook)).send_waiting() == 1


def test_a_mail_arrives_with_its_subject_and_text(written: CatalogueHarness, mail: MailServer) -> None:
    url = mail.address("ops@example.com")
    assert sender(written, url).send_waiting() == 1
    (message,) = mail.mails
    assert mail.recipients == [["ops@example.com"]]
    assert message["Subject"] == "LLM Refresh: a refresh failed"
    body = message.get_body(("plain", "html"))
    assert body is not None
    assert "no answer – in" in body.get_content()


def test_a_mail_that_is_refused_is_sent_again(written: CatalogueHarness, mail: MailServer) -> None:
    url = mail.address("ops@example.com")
    mail.refusals = ["451 later"]
    assert sender(written, url).send_waiting() == 0
    (delivery,) = written.run("SELECT last_error FROM llm_notice_deliveries")
    assert delivery["last_error"] in (
        "the mail server could not be reached, or refused the login or the mail",
        "the receiver did not take it",
    )
    make_due(written)
    assert sender(written, url).send_waiting() == 1
    assert len(mail.mails) == 1


def test_a_receiver_that_hangs_is_left_at_the_deadline_with_no_process_behind(
    written: CatalogueHarness, hook: Receiver
) -> None:
    hook.answers = [None]
    url = f"{address_of(hook)}?rto=100"
    # The process that posts takes a second of CPU to start: on a busy machine 4 s passed before it had posted.
    assert sender(written, url, seconds=9).send_waiting() == 0
    (delivery,) = written.run("SELECT last_error FROM llm_notice_deliveries")
    assert delivery["last_error"] == "the receiver did not answer within 9 s"
    assert len(hook.posts) == 1
    assert not [name for name in children() if "apprise_process" in name]
    hook.released.set()


def test_a_receiver_that_hangs_holds_up_no_other(written: CatalogueHarness, hook: Receiver) -> None:
    with receiver() as other:
        hook.answers = [None]
        slow = sender(written, f"{address_of(hook)}?rto=100", others=(receiver_id(address_of(other)),))
        hanging = threading.Thread(target=slow.send_waiting)
        hanging.start()
        while not hook.posts:
            time.sleep(0.01)
        assert sender(written, address_of(other)).send_waiting() == 1
        assert hanging.is_alive()
        hook.released.set()
        hanging.join()


def test_an_address_that_apprise_does_not_understand_is_named_by_its_place(hook: Receiver) -> None:
    errors = check([address_of(hook), f"nonsense://{TOKEN}", "json://"])
    assert errors == [f"address {number} is none that Apprise understands" for number in (2, 3)]


def started(**environ: str) -> subprocess.CompletedProcess[str]:
    """A worker's start, without an installation of its own: it ends before it asks anybody."""
    variables = {
        "LLM_REFRESH_ENV": "local",
        "DATABASE_URL": "postgresql://a:b@127.0.0.1:9/x",
        "REDIS_URL": "redis://127.0.0.1:9",
        "PATH": "/usr/bin:/bin",
        **environ,
    }
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker.main", "worker", "--hostname", "refresh@%h", "-Q", "refresh"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_worker_with_a_wrong_address_ends_with_one_line() -> None:
    done = started(NOTIFY_URLS=f"nonsense://{TOKEN}")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["llm-refresh: NOTIFY_URLS: address 1 is none that Apprise understands"]


def test_without_the_extra_a_worker_ends_with_one_line_that_says_what_to_install(tmp_path: Path) -> None:
    """`apprise` is found on no path: -S leaves site-packages away, and what is needed else is named."""
    packages = Path(next(path for path in sys.path if path.endswith("site-packages")))
    bare = tmp_path / "site-packages"
    bare.mkdir()
    for entry in packages.iterdir():
        if not entry.name.startswith("apprise"):
            (bare / entry.name).symlink_to(entry)
    code = "import sys; from worker.main import app"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PYTHONPATH": f"{ROOT}:{bare}",
            "LLM_REFRESH_ENV": "local",
            "REDIS_URL": "redis://127.0.0.1:9",
            "DATABASE_URL": "postgresql://a:b@127.0.0.1:9/x",
            "NOTIFY_URLS": f"json://127.0.0.1/{TOKEN}",
        },
    )
    assert done.returncode == 2
    expected = "llm-refresh: NOTIFY_URLS: needs Apprise, which is not installed: pip install 'llm-refresh[notify]'"
    assert done.stderr.splitlines() == [expected]
