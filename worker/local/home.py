"""LLM_REFRESH_HOME: who may use it now, the passwords it keeps, and the state that `make up` leaves in it.

lock            held by the process that called start_services
services.lock   held by its supervisor, until the servers have ended
passwords.json  made once, kept with the data they open
services.json   ports and the data's place, kept so that they stay the same
state.json      the settings that `llm-refresh` takes from a running `make up`; removed when that ends
"""

import contextlib
import fcntl
import json
import os
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from worker.local.errors import LocalServicesError

PASSWORDS_FILE = "passwords.json"
SERVICES_FILE = "services.json"
_CALLER_LOCK = "lock"
_SUPERVISOR_LOCK = "services.lock"
_KNOWN_PASSWORDS = ("postgres", "owner", "app", "valkey", "flower", "stand_in")


def open_home(home: Path) -> Path:
    """The folder, absolute, made (0700) when missing. Raises LocalServicesError when it cannot be used."""
    absolute = Path(os.path.abspath(home))  # noqa: PTH100 - resolve() would follow a link that is there on purpose
    try:
        absolute.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=absolute):
            pass
    except OSError as error:
        raise LocalServicesError(f"LLM_REFRESH_HOME: cannot write in {absolute} ({error.strerror})") from None
    return absolute


@contextlib.contextmanager
def hold_home(home: Path) -> Iterator[None]:
    """Hold the home for this process. Raises LocalServicesError, naming the process, when another one has it."""
    # A moment of patience: the lock of a process that was just killed goes only when the kernel has buried it.
    with _locked(home / _CALLER_LOCK, seconds=1):
        yield


@contextlib.contextmanager
def hold_services(home: Path) -> Iterator[None]:
    """Hold the servers for this supervisor; one that is still stopping them is waited for."""
    with _locked(home / _SUPERVISOR_LOCK, seconds=30):
        yield


def is_held(home: Path) -> bool:
    """Whether some process runs servers in this home now."""
    if not (home / _CALLER_LOCK).exists():
        return False
    try:
        with _locked(home / _CALLER_LOCK, seconds=0):
            return False
    except LocalServicesError:
        return True


def passwords(home: Path) -> dict[str, str]:
    """The home's passwords by name, made when missing. Safe in an address and in a shell without quotes.

    Raises LocalServicesError when the servers' data is there and its passwords are not.
    """
    file = home / PASSWORDS_FILE
    stored = read_json(file)
    if not stored and (home / SERVICES_FILE).exists():
        raise LocalServicesError(
            f"{file} is missing, and without it the data in {home} cannot be opened: put it back, "
            f"or delete {home} to begin anew"
        )
    values = {name: stored.get(name) or secrets.token_hex(20) for name in _KNOWN_PASSWORDS}
    if values != stored:
        write_private(file, values)
    return values


def read_json(file: Path) -> dict[str, str]:
    """What the file holds; nothing when it is not there. Raises LocalServicesError when it cannot be read."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise LocalServicesError(f"{file} cannot be read ({type(error).__name__}): is it another user's?") from None
    if not isinstance(values, dict):
        raise LocalServicesError(f"{file} holds something else than expected")
    return {str(key): str(value) for key, value in values.items()}


def write_private(file: Path, content: Mapping[str, str]) -> None:
    """Replace the file in one step, readable by its owner only."""
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as new:  # mode 0600
        json.dump(content, new, indent=2)
    Path(new.name).replace(file)


@contextlib.contextmanager
def _locked(file: Path, seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    with os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    holder = lock.read().strip() or "unknown"
                    raise LocalServicesError(
                        f"{file.parent} is in use by another process (pid {holder}): stop that one first, "
                        "or set LLM_REFRESH_HOME to another folder"
                    ) from None
            time.sleep(0.1)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
