"""What `make up` is to start, checked before anything is started."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.notices.apprise_calls import check_receivers
from shared.settings import Settings, SettingsError, environment_with_files, read_settings
from worker.local.errors import LocalServicesError
from worker.local.home import hold_home, open_home
from worker.local.ports import is_free
from worker.local.processes import ProcfileError, parse_procfile


@dataclass(frozen=True)
class UpPlan:
    """What is to be started, checked before anything is."""

    variables: dict[str, str]
    settings: Settings
    home: Path
    commands: dict[str, str]

    @property
    def own_postgres(self) -> bool:
        return "DATABASE_URL" not in self.variables

    @property
    def own_valkey(self) -> bool:
        return "REDIS_URL" not in self.variables

    @property
    def own_stand_in(self) -> bool:
        return not self.settings.upstream_given and self.settings.stand_in_url is None


def make_plan(environ: Mapping[str, str], cwd: Path) -> UpPlan:
    """Read the settings and see that they can be used: the home is not in use, the ports are free.

    Raises SettingsError or ProcfileError, one line each.
    """
    variables = environment_with_files(environ, cwd / ".env") | {"LLM_REFRESH_ENV": "local"}
    if "MIGRATE_DATABASE_URL" in variables and "DATABASE_URL" not in variables:
        raise SettingsError("DATABASE_URL is missing: MIGRATE_DATABASE_URL is given, and both name the same database")
    ours = {"DATABASE_URL": "postgresql://127.0.0.1/llm_refresh", "REDIS_URL": "redis://127.0.0.1"}
    settings = read_settings(ours | variables)
    procfile = cwd / "Procfile"
    try:
        commands = parse_procfile(procfile.read_text(encoding="utf-8"))
        home = open_home(cwd / settings.llm_refresh_home)
        with hold_home(home):
            pass
    except OSError as error:
        raise ProcfileError(f"{procfile} cannot be read ({error.strerror})") from None
    except LocalServicesError as error:
        raise SettingsError(str(error)) from None
    for name, port in (("PORT", settings.port), ("FLOWER_PORT", settings.flower_port)):
        if not is_free(port):
            raise SettingsError(f"{name}: port {port} is taken by another program: stop it, or set {name}")
    if settings.port == settings.flower_port:
        raise SettingsError("FLOWER_PORT: is the same as PORT; each needs its own")
    check_receivers(settings)
    return UpPlan(variables | {"LLM_REFRESH_HOME": str(home)}, settings, home, commands)
