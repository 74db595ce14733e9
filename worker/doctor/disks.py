"""How full the disks are that local files go to: the home, the temporary folder, the data of local servers.

On a full disk a write fails long after its cause began, and mostly in another place: it is told before that.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shared.settings import Settings
from worker.doctor.findings import Finding, fault, good, warning

MEGABYTE: Final = 1 << 20
FULL_BYTES: Final = 8 * MEGABYTE
"""Less than this is full on any disk: the metrics of two web processes take 4 MB."""
FULL_SHARE, FULL_BELOW_BYTES = 0.01, 1024 * MEGABYTE
NEARLY_SHARE, NEARLY_BELOW_BYTES = 0.10, 5 * 1024 * MEGABYTE
"""A small share of a large disk is still much room."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system, and which of our folders are on it."""

    folders: tuple[str, ...]
    """like `home /srv/llm-refresh`"""
    total_bytes: int
    free_bytes: int
    """for a process without special rights"""
    total_files: int
    """0 where the file system does not count them"""
    free_files: int
    read_only: bool


LABELS: Final[Mapping[str, str]] = {
    "home": "home",
    "temporary folder": "tmp",
    "metrics folder": "metrics",
    "PostgreSQL's data": "postgresql",
}
"""What each folder is called in the metrics."""


def folders(settings: Settings, environ: Mapping[str, str], state: Mapping[str, str]) -> list[tuple[str, Path]]:
    """The folders that are written to, with what each is. `state`: what local servers have noted in the home."""
    home = settings.llm_refresh_home
    written = [("temporary folder", _temporary(environ))]
    if settings.local or home.exists():
        written.insert(0, ("home", home))
    metrics = environ.get("PROMETHEUS_MULTIPROC_DIR")
    if metrics or settings.local:  # else it is in the temporary folder
        written.append(("metrics folder", Path(metrics) if metrics else home / f"web-metrics-{settings.port}"))
    if "data" in state:
        written.append(("PostgreSQL's data", Path(state["data"])))
    return written


def _temporary(environ: Mapping[str, str]) -> Path:
    # Not tempfile.gettempdir(): it passes over a folder that is full, and answers with another.
    for name in ("TMPDIR", "TEMP", "TMP"):
        if environ.get(name):
            return Path(environ[name])
    return next((Path(each) for each in ("/tmp", "/var/tmp") if Path(each).is_dir()), Path(tempfile.gettempdir()))  # noqa: S108


def measure(places: Sequence[tuple[str, Path]]) -> list[Disk]:
    """The file systems of these folders, each once. A folder that is not there counts as its parent. Raises OSError."""
    by_device: dict[int, tuple[list[str], os.statvfs_result]] = {}
    for what, folder in places:
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        names, _ = by_device.setdefault(there.stat().st_dev, ([], os.statvfs(there)))
        names.append(f"{what} {folder}")
    return [
        Disk(
            folders=tuple(names),
            total_bytes=device_disk.f_blocks * device_disk.f_frsize,
            free_bytes=device_disk.f_bavail * device_disk.f_frsize,
            total_files=device_disk.f_files,
            free_files=device_disk.f_favail,
            read_only=bool(device_disk.f_flag & os.ST_RDONLY),
        )
        for names, device_disk in by_device.values()
    ]


def room(places: Sequence[tuple[str, Path]]) -> dict[str, tuple[int, int]]:
    """For each of these folders, by its label: bytes that are free on its disk, and the disk's size. Raises OSError."""
    figures = {}
    for what, folder in places:
        (disk,) = measure([(what, folder)])
        figures[LABELS[what]] = disk.free_bytes, disk.total_bytes
    return figures


def noted_state(home: Path) -> dict[str, str]:
    """What local servers have noted in the home; nothing where none ran, or it cannot be read."""
    try:
        saved_state = json.loads((home / "services.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return saved_state if isinstance(saved_state, dict) else {}


def of_disks(disks: Sequence[Disk]) -> Iterator[Finding]:
    """Whether there is room. Pure."""
    for disk in disks:
        where = ", ".join(disk.folders)
        room = f"{_size(disk.free_bytes)} of {_size(disk.total_bytes)} are free"
        make_room = "make room: the largest folders by `du -xah --max-depth=2 FOLDER | sort -h | tail`"
        if disk.read_only:
            yield fault("disk", f"{where}: mounted read-only", "look at the kernel's log, and mount it for writing")
        elif disk.total_files and disk.free_files == 0:
            yield fault("disk", f"{where}: full: {room}, and it takes no new file (inodes)", "delete small files")
        elif _is_short(disk, FULL_SHARE, FULL_BELOW_BYTES) or disk.free_bytes < FULL_BYTES:
            yield fault("disk", f"{where}: full: {room}", make_room)
        elif _is_short(disk, NEARLY_SHARE, NEARLY_BELOW_BYTES):
            yield warning("disk", f"{where}: nearly full: {room}", make_room)
        elif disk.total_files and disk.free_files < disk.total_files * NEARLY_SHARE / 2:
            yield warning("disk", f"{where}: room for {disk.free_files} more files (inodes)", "delete small files")
        else:
            yield good("disk", f"{where}: {room}")


def _is_short(disk: Disk, share: float, below_bytes: int) -> bool:
    return disk.free_bytes < min(disk.total_bytes * share, below_bytes)


def _size(number: int) -> str:
    return f"{number / 1024**3:.1f} GB" if number >= 1024**3 else f"{number / MEGABYTE:.0f} MB"
