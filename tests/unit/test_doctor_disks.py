"""When a disk is full or nearly so, and which folders are looked at."""

from pathlib import Path

import pytest

from shared.settings import Settings
from worker.doctor.disks import MEGABYTE, Disk, folders, measure, of_disks

GIGABYTE = 1024 * MEGABYTE


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (250 * GIGABYTE, 100 * GIGABYTE, "good"),
        (2000 * GIGABYTE, 6 * GIGABYTE, "good"),
        (250 * GIGABYTE, 4 * GIGABYTE, "warning"),
        (250 * GIGABYTE, 900 * MEGABYTE, "fault"),
        (64 * MEGABYTE, 60 * MEGABYTE, "good"),  # the temporary folder of a container
        (64 * MEGABYTE, 7 * MEGABYTE, "fault"),
        (100 * MEGABYTE, 9 * MEGABYTE, "warning"),
        (64 * MEGABYTE, 0, "fault"),
    ],
)
def test_room(total: int, free: int, level: str) -> None:
    (finding,) = of_disks([Disk(("home /h",), total, free, 1000, 900, False)])
    assert finding.level == level
    assert finding.detail.startswith("home /h: ")


@pytest.mark.parametrize(("free_files", "level"), [(0, "fault"), (10, "warning"), (500, "good")])
def test_a_disk_that_takes_no_new_file_is_full_with_room_left(free_files: int, level: str) -> None:
    (finding,) = of_disks([Disk(("home /h",), 100 * GIGABYTE, 50 * GIGABYTE, 1000, free_files, False)])
    assert finding.level == level
    assert ("inodes" in finding.detail) == (level != "good")


def test_a_file_system_that_does_not_count_files_has_room_for_them() -> None:
    (finding,) = of_disks([Disk(("home /h",), 100 * GIGABYTE, 50 * GIGABYTE, 0, 0, False)])
    assert finding.level == "good"


def test_a_disk_that_is_read_only_is_a_fault() -> None:
    (finding,) = of_disks([Disk(("home /h",), 100 * GIGABYTE, 50 * GIGABYTE, 0, 0, True)])
    assert (finding.level, "read-only" in finding.detail) == ("fault", True)


def settings(mode: str, home: Path) -> Settings:
    return Settings(
        llm_refresh_env=mode,
        llm_refresh_home=home,
        port=4000,
        jwt_secret="x" * 32,
        database_url="postgresql://h/d",
        redis_url="redis://h",
    )


def test_the_folders_of_local_mode_and_of_production(tmp_path: Path) -> None:
    local = dict(folders(settings("local", tmp_path), {"TMPDIR": "/t"}, {"data": "/var/pg"}))
    assert local == {
        "home": tmp_path,
        "temporary folder": Path("/t"),
        "PostgreSQL's data": Path("/var/pg"),
        "metrics folder": tmp_path / "web-metrics-4000",
    }
    production = dict(folders(settings("production", tmp_path / "none"), {"TMPDIR": "/t"}, {}))
    assert production == {"temporary folder": Path("/t")}


def test_folders_on_one_disk_are_one_line_and_one_that_is_not_there_yet_counts(tmp_path: Path) -> None:
    (disk,) = measure([("home", tmp_path), ("metrics folder", tmp_path / "not" / "yet")])
    assert disk.folders == (f"home {tmp_path}", f"metrics folder {tmp_path}/not/yet")
    assert disk.total_bytes > disk.free_bytes > 0
