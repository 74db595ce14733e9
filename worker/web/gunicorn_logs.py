"""gunicorn's lines in the form of all others."""

from typing import Any

from gunicorn.glogging import Logger


class RootLogger(Logger):
    """Leaves gunicorn's lines to the root logger, which the process has set up."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
