"""What the doctor makes of the port of web: real sockets each."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from worker.doctor.web import check_web
from worker.local.ports import free_port


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answering() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_web_that_answers_is_good(answering: int) -> None:
    assert [finding.level for finding in check_web(answering)] == ["good"]


def test_no_web_on_this_machine_is_only_a_warning() -> None:
    (finding,) = check_web(free_port())
    assert finding.level == "warning"
    assert "nothing listens" in finding.detail


def test_web_that_is_frozen_is_a_fault() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # the kernel takes connections for it
        (finding,) = check_web(server.getsockname()[1], answer_seconds=0.2)
    assert finding.level == "fault"
    assert "does not answer" in finding.detail
    assert "restart it" in str(finding.advice)
