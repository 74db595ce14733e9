"""The hand-made tables of a project on Supabase, adopted through its pooler by its `postgres`, who is no superuser."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from harness.servers import running_servers, with_database
from migrations.run import grant_roles, upgrade
from shared.settings import Settings
from tests.integration.supabase.test_supabase import CLUSTER, INSIDE, PASSWORDS, execute
from tests.support.old_system import SUPABASE_PARTS, WHOLE
from tests.support.pooler import transaction_pooler
from tests.support.tools import ROOT
from worker.commands.doctor import check_database
from worker.runtime import adopter_of

OLD = ("llm_models_before_llm_refresh", "llm_usage_stats_before_llm_refresh")


@pytest.fixture(scope="module")
def settings() -> Iterator[tuple[Settings, str]]:
    """The settings of the application after the adoption, and the superuser's address."""
    with running_servers() as servers:
        superuser = servers.services.superuser_url
        execute(superuser, "DROP DATABASE llm_refresh;\n" + CLUSTER)
        inside = with_database(superuser, "supabase")
        execute(inside, INSIDE)
        with psycopg.connect(inside) as connection:
            connection.execute(SUPABASE_PARTS)
        with transaction_pooler(superuser, PASSWORDS) as port:
            owner, app = (f"postgresql://{name}:{word}@127.0.0.1:{port}/supabase" for name, word in PASSWORDS.items())
            with psycopg.connect(owner) as connection:
                connection.execute(WHOLE)
            documented = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "supabase.md").read_text(), re.DOTALL)
            execute(owner, documented[0])
            made = Settings(llm_refresh_env="local", database_url=app, redis_url=servers.redis_url())
            url = owner.replace("postgresql://", "postgresql+psycopg://")
            adoption = upgrade(url, adopter=adopter_of(made)).adoption
            assert adoption is not None
            assert len(adoption.models) == 5
            grant_roles(url, "llm_refresh_app")
            yield made, inside


def test_the_models_are_read_by_who_may_and_the_old_tables_by_nobody(settings: tuple[Settings, str]) -> None:
    with psycopg.connect(settings[1]) as connection:
        listed = "SELECT model_key, is_default FROM llm_models ORDER BY display_order"
        connection.execute("SET LOCAL ROLE authenticated")
        assert connection.execute(listed).fetchall() == [
            ("our-small-one", False),
            ("claude-3-7-sonnet", False),
            ("claude-3-5-sonnet", False),
            ("gpt-4o", True),
        ]
    for table in OLD:
        for role in ("anon", "authenticated", "service_role"):
            with psycopg.connect(settings[1]) as connection:
                connection.execute(f"SET LOCAL ROLE {role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"SELECT FROM {table}".encode())


def test_the_doctor_is_content(settings: tuple[Settings, str]) -> None:
    assert [finding for finding in check_database(settings[0]) if finding.level == "fault"] == []
