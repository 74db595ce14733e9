"""The engine, and transactions that say their role and their caller."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import psycopg
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, TimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from shared.connections import BoundedConnection, connect
from shared.roles import Role
from shared.silence import Silence

Connection = sa.Connection
"""For those who pass a connection on and hold no statement."""

Rows = list[dict[str, Any]]


class Statement(NamedTuple):
    """One for `Database.run`, which returns rows. `values`: psycopg's, by place or by name."""

    sql: str
    values: Sequence[Any] | Mapping[str, Any] = ()


PING_AFTER_SECONDS = 1.0
"""A server that comes back is away for longer than that: a connection that was just in use needs no question."""

PING_SECONDS = 0.75
POOL_LOOK_SECONDS = 1.0
"""How often who waits for a connection looks whether the server has fallen silent."""
SPARE_SECONDS = 1.0
"""So much longer than the server, which is told each time, a statement is given by us: it ends first where it lives."""
LOCK_SHARE = 0.8

_requested_at: ContextVar[float] = ContextVar("asked_at", default=float("inf"))
_ENTER = (
    "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true),"
    " set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true)"
)
# SQLSTATEs and their classes (PostgreSQL manual, appendix A) that say "not now" rather than "not like this": the last
# are a server that only reads (a failover), deadlocks, and waits that took too long.
_UNAVAILABLE = ("08", "53", "57P", "58", "25006", "25P03", "40001", "40P01", "55P03", "57014")
DISK_FULL = "53100"
# A prepared statement is not there, or is there already: the server behind a connection is not the one that it was. And
# one that would answer with other columns than before, since the schema has changed.
_SWAPPED, _OUTDATED = ("26000", "42P05"), "0A000"
_NO_SPACE = "No space left on device"
# What an operator reads: why not now. `llm-refresh doctor` has the server's own words.
_REASONS: dict[str | None, str] = {
    None: "PostgreSQL cannot be reached, or the connection was lost: `llm-refresh doctor` has its own words",
    "silent": "PostgreSQL does not answer",
    "pool": "PostgreSQL does not answer in time: every connection of this process is waiting",
    DISK_FULL: "PostgreSQL's disk is full: it takes no writes",
    "53200": "PostgreSQL has no memory left",
    "53300": "PostgreSQL takes no more connections",
    "57P01": "PostgreSQL was stopped",
    "57P03": "PostgreSQL is starting or stopping",
    "25006": "PostgreSQL only reads: it is a standby, or writing was switched off",
    "25P03": "PostgreSQL ended a transaction that did nothing for too long",
    "28P01": "PostgreSQL refuses the password of DATABASE_URL",
    "28000": "PostgreSQL refuses the login of DATABASE_URL",
    _OUTDATED: "PostgreSQL's schema has changed: connections are made anew",
    **dict.fromkeys(
        _SWAPPED, "a pooler stands before PostgreSQL: connections are made anew, without prepared statements"
    ),
    "3D000": "PostgreSQL has no such database as DATABASE_URL names",
    "55P03": "PostgreSQL cannot do this now: another transaction holds what it needs",
    "57014": "PostgreSQL did not end a statement in time",
}


class DatabaseFailure(Exception):
    """What a transaction raises: the base of the three below, for whoever goes on without PostgreSQL's answer."""


class DatabaseError(DatabaseFailure):
    """PostgreSQL refused a statement. Holds the SQLSTATE and the constraint, never a value of the statement."""

    def __init__(self, sqlstate: str | None, constraint: str | None) -> None:
        super().__init__(f"PostgreSQL refused a statement (SQLSTATE {sqlstate}, constraint {constraint})")
        self.sqlstate = sqlstate
        self.constraint = constraint


class DatabaseUnavailable(DatabaseFailure):
    """PostgreSQL cannot be reached, went away or cannot do it now; the transaction may have been committed or not."""

    def __init__(self, sqlstate: str | None = None) -> None:
        super().__init__(_in_words(sqlstate))
        self.sqlstate = sqlstate


def _in_words(sqlstate: str | None) -> str:
    reason = _REASONS.get(sqlstate)
    if reason is None:
        return f"PostgreSQL cannot be reached, or not do this now (SQLSTATE {sqlstate})"
    return reason if sqlstate in (None, "silent", "pool") else f"{reason} (SQLSTATE {sqlstate})"


class RoleNotGranted(DatabaseFailure):
    """The login of DATABASE_URL may not take a role it needs."""


@dataclass(frozen=True)
class Caller:
    """Who a transaction acts for: the role and claims that row level security sees.

    `subject` is the token's `sub`, or the name of the process when the system acts for itself.
    """

    role: Role
    subject: str

    @property
    def claims(self) -> str:
        return json.dumps({"sub": self.subject, "role": self.role})


SYSTEM = Caller("service_role", "llm-refresh")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to wait for PostgreSQL at most, in seconds.

    `statement` bounds each statement, at the server and, a little later, on our side; `connect` a new connection, with
    the look-up of its name; `pool` the wait for one of the process's connections to be free.
    """

    statement: float = 15.0
    connect: float = 3.0
    pool: float = 5.0


WORKER_LIMITS = Limits()
WEB_LIMITS = Limits(statement=2.5, connect=2.0)
"""Where somebody waits for an answer: whatever is silent, they have it within five seconds."""


class Database:
    """A pool of connections of the application's login. Build it after a fork, dispose of it before exit.

    No wait for the server is without end. Where it has stopped answering altogether, one caller a second asks it, and
    the others get DatabaseUnavailable at once.
    """

    def __init__(self, url: str, *, application_name: str, pool_size: int = 5, limits: Limits = WORKER_LIMITS) -> None:
        self._limits = limits
        self._silence = Silence()
        self._prepares = True
        self.engine = sa.create_engine(
            url,
            hide_parameters=True,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_LOOK_SECONDS,
            pool_use_lifo=True,
            connect_args={
                "application_name": f"llm-refresh {application_name}",
                "tcp_user_timeout": 15_000,
                "keepalives_idle": 15,
                "keepalives_interval": 5,
                "keepalives_count": 3,
            },
        )

        _connect_bounded(self.engine, limits, self._silence, lambda: self._prepares)
        _ping_idle_connections(self.engine)

    def warm_up(self, connections: int) -> None:
        """Open so many connections of the pool before they are needed.

        One costs 6 ms of CPU here (SCRAM): a burst of requests that each make their own halts a process of greenlets.
        Where PostgreSQL is away, nothing happens: they are made when they are needed.
        """
        with ExitStack() as stack, suppress(DBAPIError):
            for _ in range(connections):
                stack.enter_context(self.engine.connect())

    @contextmanager
    def transaction(
        self,
        caller: Caller | None = SYSTEM,
        *,
        timeout_seconds: float | None = None,
        lock_seconds: float | None = None,
    ) -> Iterator[sa.Connection]:
        """A transaction of the caller's role, or, to look at the login itself, of none; commits at the end.

        `timeout_seconds` (else the limit of this pool) bounds each statement, `lock_seconds` (else the same) each wait
        for a lock. Raises DatabaseUnavailable and DatabaseError, which quote no value of a statement as the drivers'
        own texts do.
        """
        seconds = self._limits.statement if timeout_seconds is None else timeout_seconds
        try:
            with self._connection() as connection, connection.begin():
                _limit(connection, seconds)
                connection.exec_driver_sql(_ENTER, _entering(caller, seconds, lock_seconds))
                yield connection
        except DBAPIError as error:
            raise self._failure_of(error.orig, lost=error.connection_invalidated) from None

    def run(
        self,
        *statements: Statement,
        caller: Caller = SYSTEM,
        timeout_seconds: float | None = None,
        lock_seconds: float | None = None,
        at_once: bool = False,
    ) -> list[Rows]:
        """The rows of each of these statements, in a transaction of their own that is sent with its commit.

        It takes two exchanges with the server, and its locks are held while the server works, not while this process
        comes to send the commit. The first asks whether the server answers: a silent one may carry out whatever was
        sent long after this has raised. `at_once` leaves that away, for statements that only read, or change nothing
        when they are carried out late.

        `timeout_seconds` bounds all statements together, in equal shares: the commit is on its way, so the server has
        to end what takes too long before this process gives the connection up. A wait for a lock ends before its
        statement. Raises what `transaction` raises.
        """
        seconds = self._limits.statement if timeout_seconds is None else timeout_seconds
        share = seconds / len(statements)
        if lock_seconds is not None:
            lock_seconds = min(lock_seconds, LOCK_SHARE * share)
        try:
            with self._connection() as connection:
                driver = _limit(connection, seconds)
                try:
                    with driver.whole_transaction() as pipeline:
                        driver.execute(_ENTER, _entering(caller, share, lock_seconds))
                        if not at_once:
                            pipeline.sync()
                        cursors = [
                            driver.cursor(row_factory=dict_row).execute(statement.encode(), values)
                            for statement, values in statements
                        ]
                    return [cursor.fetchall() for cursor in cursors]
                except psycopg.Error as error:
                    if driver.closed:
                        connection.invalidate()
                    raise self._failure_of(error, lost=driver.closed) from None
        except DBAPIError as error:
            raise self._failure_of(error.orig, lost=error.connection_invalidated) from None

    def _failure_of(self, original: BaseException | None, *, lost: bool) -> DatabaseFailure:
        """What to raise for a driver's error; makes the connections anew where prepared statements are the matter."""
        failure = _without_values(original, lost=lost)
        if isinstance(failure, DatabaseUnavailable) and failure.sqlstate in (*_SWAPPED, _OUTDATED):
            self._prepares &= failure.sqlstate == _OUTDATED
            self.engine.dispose()
        return failure

    def _connection(self) -> sa.Connection:
        """A connection of the pool. Raises DatabaseUnavailable where none becomes free, or the server is silent."""
        asked_at = self._silence.now()
        if not self._silence.may_ask():
            raise DatabaseUnavailable("silent")
        _requested_at.set(asked_at)
        while True:
            try:
                return self.engine.connect()
            except TimeoutError:  # the pool's
                if self._silence.began_after(asked_at) or self._silence.now() >= asked_at + self._limits.pool:
                    raise DatabaseUnavailable("pool") from None

    def check(self) -> None:
        """Ask whether the server answers. Raises DatabaseUnavailable and what else `transaction` raises."""
        with self.transaction():
            pass

    def dispose(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def _limit(connection: sa.Connection, seconds: float) -> BoundedConnection:
    """Bound the exchanges of a connection, a little later than the server does; returns the driver's connection."""
    driver: Any = connection.connection.dbapi_connection
    driver.limit_seconds = seconds + SPARE_SECONDS
    return cast(BoundedConnection, driver)


def _entering(caller: Caller | None, seconds: float, lock_seconds: float | None) -> tuple[str, str, str, str]:
    """The parameters of `_ENTER`."""
    role, claims = ("none", "") if caller is None else (caller.role, caller.claims)
    milliseconds = str(int(seconds * 1000))
    return role, claims, milliseconds, milliseconds if lock_seconds is None else str(int(lock_seconds * 1000))


def _connect_bounded(engine: sa.Engine, limits: Limits, silence: Silence, prepares: Callable[[], bool]) -> None:
    """Make connections whose waits end, which prepare statements while `prepares` says so.

    Who has waited for one while the server fell silent opens none: the two waits together would take too long.
    """

    @sa.event.listens_for(engine, "do_connect")
    def opens(dialect: object, record: object, arguments: object, params: dict[str, Any]) -> BoundedConnection:
        if silence.began_after(_requested_at.get()):
            raise psycopg.OperationalError("the server does not answer")
        return connect(params, within_seconds=limits.connect, silence=silence, prepares=prepares())


def _ping_idle_connections(engine: sa.Engine) -> None:
    """Ask a connection that was not in use for a while whether it still lives, and replace all when it does not.

    SQLAlchemy's own `pool_pre_ping` asks each time, which is a quarter of what an empty transaction costs.
    """

    @sa.event.listens_for(engine, "checkin")
    def rests(connection: Any, record: ConnectionPoolEntry) -> None:
        record.info["rests_since"] = time.monotonic()

    dialect: Any = engine.dialect

    @sa.event.listens_for(engine, "checkout")
    def goes_out(connection: BoundedConnection, record: ConnectionPoolEntry, proxy: object) -> None:
        if time.monotonic() - record.info.get("rests_since", float("inf")) < PING_AFTER_SECONDS:
            return
        connection.limit_seconds = PING_SECONDS
        try:
            dialect.do_ping(connection)
        except dialect.dbapi.Error:
            raise InvalidatePoolError from None


def _is_outdated(error: Any) -> bool:
    """Whether a prepared statement would answer with other columns; its SQLSTATE is also that of what is unknown."""
    return getattr(error, "sqlstate", None) == _OUTDATED and "cached plan" in str(error)


def _without_values(original: Any, *, lost: bool) -> DatabaseFailure:
    sqlstate: str | None = getattr(original, "sqlstate", None)
    diagnosis: Any = getattr(original, "diag", None)
    if (sqlstate or "").startswith((*_UNAVAILABLE, *_SWAPPED)) or _is_outdated(original):
        return DatabaseUnavailable(sqlstate)
    if sqlstate is None and _NO_SPACE in str(original):  # a refused connection has no SQLSTATE
        return DatabaseUnavailable(DISK_FULL)
    if sqlstate is None and (lost or isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)):
        return DatabaseUnavailable(sqlstate)
    if sqlstate in ("28P01", "28000", "3D000"):
        return DatabaseUnavailable(sqlstate)
    if sqlstate in ("42501", "22023") and diagnosis is not None and "role" in (diagnosis.message_primary or ""):
        return RoleNotGranted("the login of DATABASE_URL may not take a role that it needs: run `llm-refresh migrate`")
    return DatabaseError(sqlstate, diagnosis.constraint_name if diagnosis is not None else None)
