"""gunicorn's own settings. Patching comes before anything else is loaded: a waiting reader is then a greenlet."""

from gevent import monkey

monkey.patch_all()

import gc  # noqa: E402

gc.disable()  # what is loaded stays: looking through it again and again takes a fifth of the time

import os  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from shared.logs import configure  # noqa: E402
from shared.settings import SettingsError, read_settings, secrets_of  # noqa: E402
from worker import process_limits  # noqa: E402
from worker.web import metrics_files  # noqa: E402
from worker.web.gunicorn_logs import RootLogger  # noqa: E402
from worker.web.traced_request import MAX_FIELD_BYTES, MAX_FIELDS, MAX_REQUEST_LINE  # noqa: E402

try:
    _settings = read_settings(os.environ, Path(".env"))
except SettingsError as error:
    print(f"llm-refresh: {error}", file=sys.stderr)
    sys.exit(2)

configure(
    as_json=_settings.logs_as_json,
    level=_settings.log_level,
    process="web",
    secrets=secrets_of(_settings),
    redirect=True,
)
logger_class = RootLogger

# Named explicitly: with PORT in the environment gunicorn would listen on every address.
bind = [f"127.0.0.1:{_settings.port}" if _settings.local else f"0.0.0.0:{_settings.port}"]
worker_class = "worker.web.gunicorn_worker.Worker"
workers = _settings.web_concurrency
_file_limit = process_limits.raise_limit()
worker_connections = process_limits.connections(_file_limit)
graceful_timeout = 10
timeout = 60
keepalive = 75
limit_request_line = MAX_REQUEST_LINE
limit_request_fields = MAX_FIELDS
limit_request_field_size = MAX_FIELD_BYTES
accesslog = None
errorlog = "-"
loglevel = _settings.log_level
# No header moves this application: by default a request from loopback with `SCRIPT_NAME: /x` ends as a 500.
forwarder_headers = ""
control_socket_disable = True  # it would lie in a home folder that several installations share


def on_starting(server: Any) -> None:
    """Load what the web processes share, and make the folder through which they add up the durations of their requests.

    Only histograms are kept in it: those of a process that ended still count. Without room, they go without.
    """
    from worker.web.composition import prepare  # noqa: PLC0415 - a wrong setting is told of first

    prepare()
    gc.freeze()
    gc.enable()
    server.log.info("Up to %d connections in each web process (%d open files)", worker_connections, _file_limit)
    at = _settings.llm_refresh_home / f"web-metrics-{_settings.port}" if _settings.local else None
    try:
        os.environ[metrics_files.FOLDER] = str(metrics_files.make_folder(at).absolute())
    except OSError as error:
        _go_without_shared_metrics(server, error)


def post_fork(server: Any, worker: Any) -> None:
    """Take this process's room in the folder, before prometheus_client is loaded and looks for one."""
    if metrics_files.FOLDER not in os.environ:
        return
    try:
        metrics_files.reserve(Path(os.environ[metrics_files.FOLDER]), os.getpid())
    except OSError as error:
        _go_without_shared_metrics(server, error)


def child_exit(server: Any, worker: Any) -> None:
    """Give back what the process that has ended did not use."""
    if metrics_files.FOLDER in os.environ:
        metrics_files.shrink(Path(os.environ[metrics_files.FOLDER]), worker.pid)


def on_exit(server: Any) -> None:
    """Take the folder away."""
    if metrics_files.FOLDER in os.environ:
        shutil.rmtree(os.environ[metrics_files.FOLDER], ignore_errors=True)


def _go_without_shared_metrics(server: Any, error: OSError) -> None:
    os.environ.pop(metrics_files.FOLDER, None)
    server.log.warning("No room for the metrics of requests (%s): each process shows its own", error.strerror)
