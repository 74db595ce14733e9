"""Who runs PostgreSQL, and which folders that user can reach."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from worker.local.errors import LocalServicesError


class RunAs(TypedDict, total=False):
    """Arguments of `subprocess.Popen`."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """Another user than ours."""

    name: str
    uid: int
    gid: int

    @property
    def run_as(self) -> RunAs:
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_enter(self, folder: Path) -> bool:
        # Asked of the kernel, as that user: modes, access lists and mount options all count.
        return self.succeeds(["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)])

    def succeeds(self, command: list[str]) -> bool:
        try:
            result = subprocess.run(command, cwd="/", capture_output=True, check=False, **self.run_as)  # noqa: S603
        except OSError:
            return False
        return result.returncode == 0


def postgres_account(data: Path) -> Account | None:
    """The user for PostgreSQL: None for ourselves; as root, which PostgreSQL refuses, the data's owner or `nobody`.

    Raises LocalServicesError when there is no such user.
    """
    own = os.getuid()
    user: int | str = own
    if own == 0:
        owner = data.stat().st_uid if data.exists() else 0
        user = owner or "nobody"
    try:
        entry = pwd.getpwuid(user) if isinstance(user, int) else pwd.getpwnam(user)
    except KeyError:
        raise LocalServicesError(
            f"PostgreSQL needs a user with an entry in /etc/passwd, and {user!r} has none: "
            "set DATABASE_URL to a server of yours"
        ) from None
    return None if own != 0 else Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
