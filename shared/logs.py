"""structlog for every process: one formatter for our events and for what the libraries say."""

import io
import json
import logging
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TextIO
from urllib.parse import quote, unquote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from shared.log_output import log_uncaught, redirect_output

PREFIX, CHAT_PREFIX = "[LLM Refresh]", "[ChaSen Chat]"
_QUIET = (
    "httpx",
    "httpcore",
    "celery.redirected",
    "kombu.pidbox",
    "alembic.runtime",
    "markdown_it",
    "celery.worker.strategy",
    "celery.app.trace",  # "received" and "succeeded", which our own lines say with more
)
_LINE_ENDS = {0x85: "\\u0085", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
_BEARER = re.compile(r"(?i)\bbearer\s+[\w\-.~+/]+=*")
_TRACEBACKS = ("exception", "stack")
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": ")).encode
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


class DirectLines:
    """Writes lines of known fields past the loggers, for what is written at every request: 12 µs of CPU instead of 76.

    They look like the others and are masked like them. Level: info.
    """

    def __init__(
        self, handler: logging.StreamHandler[TextIO], mask: Callable[[str], str], *, as_json: bool, process: str
    ) -> None:
        self._handler = handler
        self._mask = mask
        self._process = process
        self._render = self._as_json if as_json else self._as_text

    def write(self, event: str, fields: Mapping[str, str | float | None]) -> None:
        """Write one line, unless the level is above info."""
        if logging.getLogger().level > logging.INFO:
            return
        line = self._mask(self._render(event, datetime.now(UTC).isoformat().replace("+00:00", "Z"), fields))
        self._handler.acquire()
        try:
            self._handler.stream.write(line + "\n")
            self._handler.flush()
        except (OSError, ValueError):  # nobody reads any more: the request goes on
            pass
        finally:
            self._handler.release()

    def _as_json(self, event: str, now: str, fields: Mapping[str, str | float | None]) -> str:
        members = {"event": event, **fields, "level": "info", "timestamp": now, "process": self._process}
        return _ENCODE(members)

    def _as_text(self, event: str, now: str, fields: Mapping[str, str | float | None]) -> str:
        text = " ".join(f"{name}={visible(str(value))}" for name, value in fields.items() if value is not None)
        return f"{now} [info     ] {event} {text} process={self._process}"


def configure(
    *,
    as_json: bool,
    level: str,
    process: str,
    secrets: Iterable[str] = (),
    stream: TextIO = sys.stdout,
    redirect: bool = False,
) -> DirectLines:
    """Set up logging for this process. Called once, by the one who starts it.

    `secrets` never appear in a line, wherever they came from; neither do bearer tokens and passwords in addresses.
    `redirect`: with `as_json`, what is printed becomes log lines too: for processes that have no other output.
    """
    mask = _masking(secrets)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # a half of a surrogate pair is no reason to lose a line
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(allow=()),
        _with_process(process),
        _prefix_message,
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
            lambda logger, method, line: mask(str(line)),
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
    if as_json:
        log_uncaught()
        if redirect:
            redirect_output()
    return DirectLines(handler, mask, as_json=as_json, process=process)


def log_misnamed(lines: Iterable[str]) -> None:
    """Warn of variables that look like ours and are read by nobody, in one line."""
    if lines := list(lines):
        log = structlog.get_logger(__name__)
        log.warning("llm_settings.misnamed", message="; ".join(lines))


def _with_process(process: str) -> Processor:
    def add(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add


def _prefix_message(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The specification's sentences begin with what they are about: that follows from the name of the event."""
    message, name = event.get("message"), event.get("event")
    if isinstance(message, str) and isinstance(name, str) and name.startswith("llm_"):
        event["message"] = f"{CHAT_PREFIX if name.startswith('llm_chat.') else PREFIX} {message}"
    return event


def _show_controls(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A console line stays one line, and its colours are ours, whatever a caller or upstream has put into a value."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable() and name not in _TRACEBACKS:
            event[name] = visible(value)
    return event


def _masking(secrets: Iterable[str]) -> Callable[[str], str]:
    """Takes secrets out of a rendered line, in each form in which they may stand there."""
    hidden = sorted({form for secret in secrets if len(secret) >= 4 for form in _forms(secret)}, key=len, reverse=True)

    def mask(line: str) -> str:
        for secret in hidden:
            if secret in line:
                line = line.replace(secret, "[secret]")
        if "bearer" in line.lower():
            line = _BEARER.sub("Bearer [secret]", line)
        if "://" in line:
            line = _ADDRESS_PASSWORD.sub(r"\1[secret]@", line)
        # Ends of lines to some readers, and to JSON mere characters.
        return line if line.isascii() else line.translate(_LINE_ENDS)

    return mask


def _forms(secret: str) -> set[str]:
    plain = {secret, unquote(secret), quote(secret, safe="")}
    escaped = {json.dumps(form, ensure_ascii=ascii_only)[1:-1] for form in plain for ascii_only in (True, False)}
    return plain | escaped | {repr(form)[1:-1] for form in plain}
