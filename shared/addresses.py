"""Addresses in settings: the whole of each is checked, and no error repeats a part of one.

Several parsers read each address (libpq and SQLAlchemy, redis-py and kombu, yarl and urllib). Where two of them could
understand it differently it is refused: one of them would print a piece of the password as a host or a port.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from psycopg import ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict
from redis.connection import parse_url
from yarl import URL

_ENCODE = "in a user and a password write / as %2F, ? as %3F, # as %23, @ as %40, % as %25"
_POSTGRESQL = "must be an address such as postgresql://user:password@host:5432/database"
_REDIS = "must be an address such as redis://:password@host:6379/0"
_WEB = "must be an address such as https://host/path"
_ANOTHER_POOLERS = frozenset(("pgbouncer", "connection_limit", "pool_timeout"))
"""Parameters in addresses that Supabase shows for Prisma. They tell nothing to PostgreSQL, and are taken off."""
_LIBPQ = frozenset(option.keyword.decode() for option in pq.Conninfo.get_defaults())
_NUMBERS = frozenset(
    (
        "port",
        "connect_timeout",
        "keepalives",
        "keepalives_idle",
        "keepalives_interval",
        "keepalives_count",
        "tcp_user_timeout",
    )
)
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}
_REDIS_TLS = ("ssl_cert_reqs", "ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_REDIS_CERTIFICATES = {
    "none": "none",
    "optional": "optional",
    "required": "required",
    "cert_none": "none",
    "cert_optional": "optional",
    "cert_required": "required",
}
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9._-]{0,252}[a-z0-9_.])?", re.IGNORECASE)
_NEXT_ADDRESS = re.compile(r"[\s,]+(?=[a-z0-9]{1,20}://)", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def database_url(value: object) -> str:
    """A PostgreSQL address as SQLAlchemy takes it. Raises ValueError, which says what is wrong and repeats nothing."""
    text = str(value).strip()
    parts = _split(text, ("postgresql", "postgres", "postgresql+psycopg"), _POSTGRESQL)
    name = parts.path.removeprefix("/")
    if "/" in name or "%" in name:
        raise ValueError(f"the database's name must hold no / and no % ({_POSTGRESQL})")
    pairs = [pair for pair in parts.query.split("&") if pair.partition("=")[0] not in _ANOTHER_POOLERS]
    names = [_parameter_name(pair, _LIBPQ, "none of PostgreSQL's (libpq)") for pair in pairs if pair]
    if any(names.count(name) > 1 for name in names if name != "host"):
        raise ValueError("gives a parameter twice")
    if not parts.hostname and "host" not in names and not name:
        raise ValueError("names no host and no database")
    rest = parts._replace(scheme="", query="&".join(pair for pair in pairs if pair)).geturl()
    if not rest.startswith("//"):  # geturl leaves it out where there is no host: postgresql:///database
        rest = f"//{rest}"
    _check_libpq(parts, f"postgresql:{rest}")
    return f"postgresql+psycopg:{rest}"


def _check_libpq(parts: SplitResult, url: str) -> None:
    try:
        read = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        raise ValueError(f"cannot be read by PostgreSQL's client: {_ENCODE}") from None
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    expected = {"user": parts.username, "password": parts.password, "port": parts.port, "dbname": parts.path[1:]}
    for name, part in expected.items():
        if part and name not in query and read.get(name) != unquote(str(part)):
            raise ValueError(f"can be read in two ways: {_ENCODE}")
    for name, choice in query.items():
        if name in _NUMBERS and not re.fullmatch(r"[0-9]{1,5}" if name == "port" else r"[0-9]{1,9}", choice):
            raise ValueError(f"its parameter {name} must be a number")
        if name in _CHOICES and choice not in _CHOICES[name]:
            raise ValueError(f"its parameter {name} must be one of {', '.join(_CHOICES[name])}")


def redis_url(value: object) -> str:
    """A Redis address that redis-py, kombu and Celery read alike. Raises ValueError, which repeats nothing of it."""
    text = str(value).strip()
    parts = _split(text, ("redis", "rediss"), _REDIS)
    if not parts.hostname:
        raise ValueError(_REDIS)
    if ";" in text:
        raise ValueError("must hold no ; (kombu takes what follows for another server): write it as %3B")
    if parts.username and not parts.password:
        raise ValueError("has a user and no password: a password alone is written redis://:password@host")
    if not re.fullmatch(r"/?[0-9]{0,5}", parts.path):
        raise ValueError("its path must be the number of a database, such as /0")
    query = []
    for pair in filter(None, parts.query.split("&")):
        name, choice = _parameter_name(pair, _REDIS_TLS, f"none of {', '.join(_REDIS_TLS)}"), pair.partition("=")[2]
        if parts.scheme != "rediss":
            raise ValueError(f"its parameter {name} is about TLS, which takes rediss://")
        if name == "ssl_cert_reqs":
            if choice.lower() not in _REDIS_CERTIFICATES:
                raise ValueError("its parameter ssl_cert_reqs must be required, optional or none")
            pair = f"{name}={_REDIS_CERTIFICATES[choice.lower()]}"  # noqa: PLW2901 - Celery's spelling, as redis-py takes it
        query.append(pair)
    url = parts._replace(query="&".join(query)).geturl()
    try:
        parse_url(url)
    except ValueError:
        raise ValueError(_REDIS) from None
    return url


def web_address(value: object) -> str:
    """An http(s) address without user and password; a / at its end is part of it. Raises ValueError."""
    text = str(value).strip()
    parts = _split(text, ("http", "https"), _WEB, fragment=True)
    if "@" in parts.netloc:
        raise ValueError("must hold no user or password")
    if not parts.hostname or "\\" in text:
        raise ValueError(_WEB)
    try:
        URL(text)
    except ValueError:
        raise ValueError(_WEB) from None
    return text


def base_address(address: str) -> str:
    """An address that paths are put behind, without / at its end. Raises ValueError if it has a query or a fragment."""
    if "?" in address or "#" in address:
        raise ValueError("must hold no ? and no #: paths are put behind it")
    return address.rstrip("/")


def origins(value: object) -> tuple[str, ...]:
    """Origins of web pages, separated by commas, as a browser writes them (RFC 6454). Raises ValueError.

    Capitals, a default port and a / at the end are taken off: with them an origin would never match.
    """
    texts = [part.strip() for part in str(value).split(",")]
    return tuple(dict.fromkeys(_origin(part, f"origin {n}") for n, part in enumerate(texts, start=1) if part))


def _origin(text: str, which: str) -> str:
    if text == "*":
        raise ValueError("* is no origin: name each one, such as https://app.example")
    if text == "null":
        raise ValueError("null is what any sandboxed page sends: name origins, such as https://app.example")
    try:
        parts = _split(text.rstrip("/"), None, "")
        host = _ascii_host(parts.hostname or "")
    except ValueError:
        raise ValueError(f"{which} must be like https://app.example or http://localhost:5173") from None
    if "@" in parts.netloc or parts.path or parts.query or not host:
        raise ValueError(f"{which} must be scheme, host and port alone, such as https://app.example")
    port = f":{parts.port}" if parts.port not in (None, _DEFAULT_PORTS.get(parts.scheme)) else ""
    return f"{parts.scheme}://{host}{port}"


def notify_urls(value: object) -> tuple[str, ...]:
    """Addresses as Apprise takes them, separated by spaces, lines or commas. Raises ValueError, which repeats nothing.

    Whether Apprise understands each is not asked here: it takes a second to start.
    """
    urls = tuple(dict.fromkeys(part for part in _NEXT_ADDRESS.split(str(value).strip(" ,\t\r\n")) if part))
    for number, url in enumerate(urls, start=1):
        if not re.match(r"[a-z0-9]{1,20}://.", url, re.IGNORECASE) or not url.isprintable() or " " in url:
            raise ValueError(f"address {number} must be like mailto://user:password@example.com or slack://… (Apprise)")
    return urls


def secrets_in_notify_url(url: str) -> Iterator[str]:
    """What must not be shown of one of Apprise's addresses: all of it, its password, and each part like a token.

    Services put tokens where others have a host, a path or a user. A part without a digit is a word.
    """
    yield url
    rest = url.partition("://")[2]
    user, at, _ = rest.partition("?")[0].rpartition("@")
    if at and ":" in user:
        yield from {(password := user.partition(":")[2]), unquote(password)}
    for part in re.split(r"[/?&=:@,]", rest):
        if len(part) >= 8 and any(character.isdigit() for character in part) and "." not in part:
            yield from {part, unquote(part)}


def secrets_in(address: str) -> Iterator[str]:
    """What must not be shown of an address: its password, as it stands and decoded, also that of its query."""
    try:
        parts = urlsplit(address)
        password = parts.password
    except ValueError:
        return
    if password:
        yield from {password, unquote(password)}
    for name, value in parse_qsl(parts.query):
        if "password" in name or "secret" in name or "key" in name.split("_"):
            yield value


def _split(text: str, schemes: tuple[str, ...] | None, example: str, *, fragment: bool = False) -> SplitResult:
    """The parts of an address whose host and port are surely those. `fragment`: a # may stand in it."""
    scheme, separator, rest = text.partition("://")
    if not separator or not (scheme in schemes if schemes else _SCHEME.fullmatch(scheme.lower())) or not rest:
        raise ValueError(example)
    if not text.isprintable() or " " in text:
        raise ValueError("must hold no space and no invisible character")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # no port, or a piece of a password where one belongs
        raise ValueError(f"its host and port cannot be read: {_ENCODE if '@' in text else example}") from None
    # Behind the host an @ shows that a password ended it too early; a second one before it, that parsers disagree.
    behind = f"{parts.path}{parts.fragment}" if fragment else f"{parts.path}{parts.query}{parts.fragment}"
    if parts.netloc.count("@") > 1 or ("@" in behind and not fragment) or ("#" in text and not fragment):
        raise ValueError(f"can be read in two ways: {_ENCODE}")
    if parts.netloc.endswith(":") or parts.port == 0:
        raise ValueError("its port must be a number from 1 to 65535")
    if host:
        _ascii_host(host)
    return parts


def _ascii_host(host: str) -> str:
    """A host name or address as it goes out. Raises ValueError."""
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host.partition('%')[0])}]"
    try:
        name = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        raise ValueError("its host is no host name (several hosts, or the folder of a socket: ?host=…)")
    return name.lower()


def _parameter_name(pair: str, names: frozenset[str] | tuple[str, ...], which: str) -> str:
    """The name of a parameter of a query. Raises ValueError; a name that cannot hold a secret is repeated."""
    name = pair.partition("=")[0]
    if name not in names:
        quoted_name = (
            f" {name}" if re.fullmatch(r"[a-z]+(?:_[a-z]+)*", name) and len(name) <= 30 and "=" in pair else ""
        )
        raise ValueError(f"its parameter{quoted_name} is {which}")
    return name
