"""gunicorn's own settings. Patching comes before anything else is loaded: a waiting reader is then a greenlet."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import shutil  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

from shared.settings import SettingsError, read_settings  # noqa: E402

try:
    _settings = read_settings(os.environ, Path(".env"))
except SettingsError as error:
    print(f"llm-refresh: {error}", file=sys.stderr)
    sys.exit(2)

# Named explicitly: with PORT in the environment gunicorn would listen on every address.
bind = [f"127.0.0.1:{_settings.port}" if _settings.local else f"0.0.0.0:{_settings.port}"]
worker_class = "gevent"
workers = _settings.web_concurrency
worker_connections = 4000
graceful_timeout = 10
timeout = 60
keepalive = 75
accesslog = None
errorlog = "-"
loglevel = _settings.log_level
# No header moves this application: by default a request from loopback with `SCRIPT_NAME: /x` ends as a 500.
forwarder_headers = ""
control_socket_disable = True  # it would lie in a home folder that several installations share


def on_starting(server: Any) -> None:
    """Make the folder through which the web processes add up the durations of their requests.

    Only histograms are kept in it: those of a process that ended still count, so nothing has to be done when one ends.
    """
    if _settings.local:  # what a run that was killed has left is cleared by the next one
        folder = _settings.llm_refresh_home / f"web-metrics-{_settings.port}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
    else:
        folder = Path(tempfile.mkdtemp(prefix="llm-refresh-web-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder.absolute())


def on_exit(server: Any) -> None:
    """Take the folder away."""
    shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)
