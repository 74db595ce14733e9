"""Alembic called as a function, with the address passed in."""

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database at this SQLAlchemy address to a revision. Safe when two start it at once."""
    command.upgrade(_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision; `base` removes everything that upgrade made."""
    command.downgrade(_config(url), revision)


def head() -> str | None:
    """The newest revision in this folder."""
    return ScriptDirectory.from_config(_config("")).get_current_head()


def current(connection: sa.Connection) -> str | None:
    """The revision that a database is at; None where nothing was migrated."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["url"] = url
    return config
