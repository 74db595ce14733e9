"""The real servers of the integration tests: one PostgreSQL and one Valkey for each pytest process.

A pytest process of pytest-xdist has its own pair: starting one takes about a second, and nothing is shared that would
have to be locked or shut down by the last one.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg import sql

from harness.folders import server_folder
from migrations.run import upgrade
from worker.local.database_roles import APP, OWNER, create_database
from worker.local.services import LocalServices, start_services

_TEMPLATE = "migrated"
_CHEAP_SINCE = 160_000  # `scram_iterations`
_REDIS_DATABASES = 4096  # as worker.local.valkey sets it for servers that are not durable


@dataclass(frozen=True)
class Database:
    """One test's database, with the address for each login; all of them plain `postgresql://`."""

    name: str
    url: str
    owner_url: str
    superuser_url: str


class Servers:
    """The running servers of this pytest process."""

    def __init__(self, services: LocalServices, migrate: Callable[[str], None]) -> None:
        self.services = services
        self._migrate = migrate
        self._numbers = itertools.count(1)
        self._migrated = False
        self._kept: psycopg.Connection[tuple[object, ...]] | None = None

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """A database as the real migrations leave it, dropped afterwards with whoever is still connected."""
        if not self._migrated:
            self._make_template()
            self._migrated = True
        with self._new_database(template=_TEMPLATE) as database:
            yield database

    @contextlib.contextmanager
    def empty_database(self) -> Iterator[Database]:
        """A database with roles and logins, and nothing migrated."""
        with self._new_database(template=None) as database:
            yield database

    def redis_url(self) -> str:
        """An empty database of the Valkey server; the number changes, so that no straggler of another test is met."""
        number = next(self._numbers) % _REDIS_DATABASES
        url = self.services.redis_url.removesuffix("/0") + f"/{number}"
        with redis.Redis.from_url(url) as client:
            client.flushdb()
        return url

    def _make_template(self) -> None:
        create_database(self._superuser(), _TEMPLATE, owner=OWNER, app=APP)
        self._migrate(self._addresses(_TEMPLATE).owner_url)
        # Nobody may be connected to a template that is being copied.
        self._superuser().execute(f"ALTER DATABASE {_TEMPLATE} ALLOW_CONNECTIONS false")

    @contextlib.contextmanager
    def _new_database(self, template: str | None) -> Iterator[Database]:
        name = f"test_{next(self._numbers)}"
        create_database(self._superuser(), name, owner=OWNER, app=APP, template=template)
        try:
            yield self._addresses(name)
        finally:
            self._superuser().execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def _addresses(self, name: str) -> Database:
        return Database(
            name=name,
            url=with_database(self.services.database_url, name),
            owner_url=with_database(self.services.migrate_database_url, name),
            superuser_url=with_database(self.services.superuser_url, name),
        )

    def _superuser(self) -> psycopg.Connection[tuple[object, ...]]:
        """One connection for all databases, made anew where a test has ended it."""
        if self._kept is not None:
            try:
                self._kept.execute("SELECT 1")
            except psycopg.OperationalError:
                self._kept.close()
            else:
                return self._kept
        self._kept = psycopg.connect(self.services.superuser_url, autocommit=True)
        return self._kept

    def close(self) -> None:
        """Leave the servers; they may be stopped."""
        if self._kept is not None:
            self._kept.close()


@contextlib.contextmanager
def running_servers(migrate: Callable[[str], None] = upgrade) -> Iterator[Servers]:
    """Start the servers in a folder of their own, and leave nothing behind."""
    with server_folder("tests") as folder:
        services = start_services(folder, postgres=True, valkey=True, durable=False, say=lambda _: None)
        servers = Servers(services, migrate)
        try:
            _make_logins_cheap(services)
            yield servers
        finally:
            servers.close()
            services.stop()


def _make_logins_cheap(services: LocalServices) -> None:
    """The same passwords, hashed once instead of 4096 times: the tests log in several times each."""
    with psycopg.connect(services.superuser_url, autocommit=True) as connection:
        if connection.info.server_version < _CHEAP_SINCE:
            return
        connection.execute("SET scram_iterations = 1")
        for url in (services.superuser_url, services.migrate_database_url, services.database_url):
            login = urlsplit(url)
            statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(login.username or ""), sql.Literal(login.password)))


def with_database(url: str, database: str) -> str:
    """The same server and login, another database."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()
