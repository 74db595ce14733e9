"""What reaches standard output past the loggers (prints, warnings, uncaught exceptions), as log lines too."""

import io
import logging
import sys
import threading
from types import TracebackType
from typing import Any, TextIO


class OutputLines(io.TextIOBase):
    """A text stream whose lines become log lines. What a failing log line prints goes to the `original` stream."""

    def __init__(self, name: str, level: int, original: TextIO) -> None:
        self._log = logging.getLogger(name)
        self._level = level
        self._original = original
        self._rest = ""
        self._lock = threading.RLock()
        self._inside = threading.local()

    def writable(self) -> bool:
        return True

    def fileno(self) -> Any:
        """None: whoever wants to write past this object (Celery, in a signal handler) has nowhere to write to."""
        return None

    def write(self, text: str) -> int:
        if getattr(self._inside, "writing", False):
            self._original.write(text)
            return len(text)
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
        self._emit(lines)
        return len(text)

    def flush(self) -> None:
        if not self._rest:  # always so while the interpreter ends, when no lock of gevent's can be taken any more
            return
        with self._lock:
            rest, self._rest = self._rest, ""
        self._emit([rest])

    def _emit(self, lines: list[str]) -> None:
        self._inside.writing = True
        try:
            for line in lines:
                if line.strip():
                    self._log.log(self._level, "%s", line.rstrip())
        finally:
            self._inside.writing = False


def redirect_output() -> None:
    """Turn everything that this process prints from now on into log lines."""
    if isinstance(sys.stdout, OutputLines):
        return
    for name, level in (("stdout", logging.INFO), ("stderr", logging.WARNING)):
        lines = OutputLines(name, level, getattr(sys, name))
        for attribute in (name, f"__{name}__"):
            setattr(sys, attribute, lines)


def log_uncaught() -> None:
    """Log warnings, and exceptions that nobody catches, instead of printing them."""
    logging.captureWarnings(True)
    log = logging.getLogger("uncaught")

    def in_main(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if not issubclass(kind, KeyboardInterrupt):
            log.critical("llm_process.uncaught", exc_info=(kind, error, traceback))

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
            log.critical("llm_process.uncaught", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def nowhere(args: Any) -> None:
        if args.exc_value is not None:
            log.error("llm_process.unraisable", exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = in_main, in_thread, nowhere
