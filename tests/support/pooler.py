"""pgbouncer in transaction mode before a PostgreSQL, as hosted databases have a pooler before theirs."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg

from harness.folders import server_folder
from harness.waiting import wait_for
from tests.support.tools import tool
from worker.local.ports import free_port

CONFIG = """
[databases]
* = host=127.0.0.1 port={server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
"""


@contextmanager
def transaction_pooler(server_url: str, passwords: Mapping[str, str]) -> Iterator[int]:
    """The port of a pooler before the server of this address, for these logins. Three connections for each of them."""
    program = tool("pgbouncer")
    server, port = urlsplit(server_url).port, free_port()
    with server_folder("pooler") as folder:
        (folder / "users").write_text("".join(f'"{name}" "{word}"\n' for name, word in passwords.items()))
        (folder / "config").write_text(CONFIG.format(server=server, port=port, folder=folder))
        as_nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        if as_nobody:  # it refuses to run as root
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "nobody", "nogroup")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, folder / "config"], stdout=log, stderr=log, **as_nobody)
        try:
            name, word = next(iter(passwords.items()))
            wait_for(lambda: _answers(f"postgresql://{name}:{word}@127.0.0.1:{port}/postgres"))
            assert process.poll() is None, (folder / "log").read_text()
            yield port
        finally:
            process.terminate()
            process.wait(10)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError as error:
        # It is there once it says something of its own, if only that the database is not for this login.
        return "refused" not in str(error)
    return True
