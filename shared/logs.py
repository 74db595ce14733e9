"""structlog for every process: one formatter for our events and for what the libraries say."""

import logging
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_QUIET = (
    "httpx", "httpcore", "celery.redirected", "kombu.pidbox", "alembic.runtime",
    "celery.worker.strategy", "celery.app.trace",  # "received" and "succeeded", which our own lines say with more
)  # fmt: skip
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
_BEARER = re.compile(r"(?i)\bbearer\s+[\w\-.~+/]+=*")
_TRACEBACKS = ("exception", "stack")
_ADDRESS_PASSWORD = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


def visible(text: str, *, keep: str = "") -> str:
    """The text with control characters, and those that turn the reading direction, as escapes: `\\n`, `\\x1b`.

    Whoever chose a model's name or a question has no say over the terminal that shows it. `keep`: characters that stay.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character in keep or character == " " or not _steers(character) else _escape(character)
        for character in text
    )


def _steers(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNS


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def configure(
    *, as_json: bool, level: str, process: str, secrets: Iterable[str] = (), stream: TextIO = sys.stdout
) -> None:
    """Set up logging for this process. Called once, by the one who starts it.

    `secrets` never appear in a line, wherever they came from; neither do bearer tokens and passwords in addresses.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(allow=()),
        _with_process(process),
    ]
    render: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(),
            pad_event_to=0,
            sort_keys=False,
            # The default one, where rich is installed, shows the local variables of each frame: questions, answers.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info if as_json else _show_controls,
            render,
            _masked(secrets),
        ],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def log_misnamed(lines: Iterable[str]) -> None:
    """Warn of variables that look like ours and are read by nobody, in one line."""
    if lines := list(lines):
        log = structlog.get_logger(__name__)
        log.warning("llm_settings.misnamed", message=f"[LLM Refresh] {'; '.join(lines)}")


def _with_process(process: str) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add


def _show_controls(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A console line stays one line, and its colours are ours, whatever a caller or upstream has put into a value."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable() and name not in _TRACEBACKS:
            event[name] = visible(value)
    return event


def _masked(secrets: Iterable[str]) -> Processor:
    hidden = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def mask(logger: WrappedLogger, method: str, line: EventDict) -> str:
        text = str(line)
        for secret in hidden:
            text = text.replace(secret, "[secret]")
        return _ADDRESS_PASSWORD.sub(r"\1[secret]@", _BEARER.sub("Bearer [secret]", text))

    return mask
