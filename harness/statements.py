"""Statements that production sends in transactions of their own, inside a transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from shared.db import Statement


def execute(connection: sa.Connection, statement: Statement) -> set[uuid.UUID]:
    """The ids that a statement returns."""
    values: Any = statement.values if isinstance(statement.values, Mapping) else tuple(statement.values)
    return {row.id for row in connection.exec_driver_sql(statement.sql, values)}
