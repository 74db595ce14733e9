"""Waits for PostgreSQL that end from outside: nobody takes an answer that belongs to a question before."""

from __future__ import annotations

import signal
import subprocess
import sys

import psycopg

from harness.processes import ROOT
from harness.servers import Database
from harness.waiting import wait_for

SQL = "SELECT pg_sleep(30)"
ASKED = "SELECT true FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query = %s"

INTERRUPTED = f"""
import signal
import sys
from shared.connections import BoundedConnection
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
connection = BoundedConnection.connect(sys.argv[1])
connection.limit_seconds = 40
print("asks", flush=True)
try:
    connection.execute({SQL!r})
except KeyboardInterrupt:
    print("interrupted", "closed" if connection.closed else "open")
"""

ENDED = f"""
from gevent import monkey
monkey.patch_all()
import sys
import gevent
from shared.connections import BoundedConnection
connection = BoundedConnection.connect(sys.argv[1])
asking = gevent.spawn(connection.execute, {SQL!r})
while connection.info.transaction_status.name != "ACTIVE":
    gevent.sleep(0.01)
asking.kill()
print("ended", "closed" if connection.closed else "open")
"""


def test_ctrl_c_in_a_wait_is_ctrl_c(database: Database) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, database.url], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"asks\n"
        with psycopg.connect(database.superuser_url, autocommit=True) as watching:
            wait_for(lambda: watching.execute(ASKED, (SQL,)).fetchone())
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (output, errors) == (b"interrupted closed\n", b"")


def test_the_connection_of_a_greenlet_that_is_ended_in_a_wait_is_used_no_more(database: Database) -> None:
    output = subprocess.run(
        [sys.executable, "-c", ENDED, database.url], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert (output.stdout, output.stderr) == (b"ended closed\n", b"")
