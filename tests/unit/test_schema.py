"""How a database's schema stands to this version's code."""

import pytest

from migrations.schema import Schema, describe_schema, head, revisions

OLD, NEWEST = revisions()[0], head()


@pytest.mark.parametrize(
    ("revision", "oldest_code", "fit"),
    [
        (NEWEST, OLD, "current"),
        (NEWEST, None, "current"),
        (OLD, OLD, "behind"),
        (None, None, "behind"),
        ("9999", OLD, "newer"),
        ("9999", NEWEST, "newer"),
        ("9999", "9998", "too_new"),
        ("9999", None, "too_new"),
    ],
)
def test_a_schema_fits_when_its_newest_migration_knows_this_code(revision, oldest_code, fit) -> None:
    schema = Schema(revision, oldest_code)
    assert schema.fit == fit
    described = describe_schema(schema)
    assert "\n" not in described
    assert ("newer than this version" in described) == (fit in ("newer", "too_new"))
