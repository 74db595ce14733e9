"""The whole system on a database that looks like Supabase's, through a pooler in transaction mode.

What an operator types is taken from docs/supabase.md. The real service was not at hand: the roles, their attributes,
the default privileges and the `auth` schema are as its public documentation and its open-source images have them.
"""

import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.processes import REFRESH, Web, local_variables, web, worker
from harness.servers import running_servers, with_database
from harness.stand_in import RunningStandIn
from harness.waiting import wait_for
from migrations.run import grant_roles, upgrade
from shared.db import Database
from tests.support.pooler import transaction_pooler
from tests.support.tools import ROOT

CHAT = (
    "celery",
    "-A",
    "worker.main",
    "worker",
    "--hostname",
    "chat@%h",
    "-Q",
    "chat",
    "-P",
    "threads",
    "-c",
    "20",
    "--without-gossip",
    "--without-mingle",
    "--prefetch-multiplier=1",
)
PASSWORDS = {"supabase_postgres": "of-postgres", "llm_refresh_app": "choose-one"}
TABLES = (
    "llm_models",
    "llm_catalogue_version",
    "llm_sync_runs",
    "llm_model_changes",
    "llm_chats",
    "llm_usage_stats",
    "llm_notices",
    "llm_refresh_version",
)

# The superuser's part, done by Supabase before anyone gets in. Its `postgres` is no superuser; it is renamed here.
CLUSTER = """
ALTER ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE anon NOLOGIN NOINHERIT;
CREATE ROLE authenticator LOGIN NOINHERIT PASSWORD 'x';
GRANT anon, authenticated, service_role TO authenticator;
CREATE ROLE supabase_postgres LOGIN CREATEROLE CREATEDB BYPASSRLS PASSWORD 'of-postgres';
GRANT anon, authenticated, service_role TO supabase_postgres WITH ADMIN OPTION;
DROP ROLE llm_refresh_app;
DROP ROLE operator;
CREATE DATABASE supabase OWNER supabase_postgres;
"""
INSIDE = """
CREATE SCHEMA auth;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT (NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'sub')::uuid $$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT NULLIF(current_setting('request.jwt.claims', true), '')::json ->> 'role' $$;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA public TO supabase_postgres;
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_postgres IN SCHEMA public
  GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_postgres IN SCHEMA public
  GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_postgres IN SCHEMA public
  GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
"""


@dataclass
class Supabase:
    """A migrated database, by its pooler's addresses and by the superuser's own."""

    app_url: str
    superuser_url: str
    redis_url: str

    def query(self, statement: str, *, role: str | None = None, sub: str = "") -> list[tuple[Any, ...]]:
        """As PostgREST asks: a transaction with role and claims of a token."""
        with psycopg.connect(self.superuser_url) as connection:
            if role is not None:
                connection.execute(f"SET LOCAL ROLE {role}".encode())
                claims = json.dumps({"sub": sub, "role": role})
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
            result = connection.execute(statement.encode())
            return result.fetchall() if result.description else []


def execute(url: str, script: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in re.split(r";\n", script):
            if statement.strip():
                connection.execute(statement.encode())


@pytest.fixture(scope="module")
def supabase() -> Iterator[Supabase]:
    with running_servers() as servers:
        superuser = servers.services.superuser_url
        execute(superuser, "DROP DATABASE llm_refresh;\n" + CLUSTER)
        inside = with_database(superuser, "supabase")
        execute(inside, INSIDE)
        with transaction_pooler(superuser, PASSWORDS) as port:
            owner, app = (f"postgresql://{name}:{word}@127.0.0.1:{port}/supabase" for name, word in PASSWORDS.items())
            documented = re.findall(r"```sql\n(.*?)```", (ROOT / "docs" / "supabase.md").read_text(), re.DOTALL)
            execute(owner, documented[0])
            upgrade(owner.replace("postgresql://", "postgresql+psycopg://"))
            grant_roles(owner.replace("postgresql://", "postgresql+psycopg://"), "llm_refresh_app")
            yield Supabase(app, inside, servers.redis_url())


@pytest.fixture(scope="module")
def key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="module")
def jwks_url(key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    """A key set as Supabase serves one at /auth/v1/.well-known/jwks.json."""
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()))
    body = json.dumps({"keys": [{**public, "kid": "k1", "alg": "ES256", "use": "sig"}]}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.02,))
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/auth/v1/.well-known/jwks.json"
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def shim(supabase: Supabase, jwks_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """Web, refresh and chat workers, all of them behind the pooler."""
    folder = tmp_path_factory.mktemp("supabase")
    with RunningStandIn() as gateway:
        variables = local_variables(
            supabase.app_url,
            supabase.redis_url,
            JWKS_URL=jwks_url,
            JWT_AUDIENCE="authenticated",
            MATCHAAI_BASE_URL=gateway.url,
            MATCHAAI_API_KEY=gateway.api_key,
            MATCHAAI_MISSION_ID="7",
            LLM_REFRESH_HOME=str(folder),
        )
        with web(variables, folder) as running, worker(variables, folder, REFRESH), worker(variables, folder, CHAT):
            wait_for(lambda: set(running.workers()) >= {"refresh", "chat"}, seconds=40)
            yield running


@pytest.fixture
def bearer(key: ec.EllipticCurvePrivateKey) -> Any:
    def of(role: str, sub: str = "6f1e6f1c-0000-4000-8000-000000000001") -> dict[str, str]:
        claims = {"sub": sub, "role": role, "aud": "authenticated", "exp": int(time.time()) + 300}
        return {"Authorization": "Bearer " + jwt.encode(claims, key, algorithm="ES256", headers={"kid": "k1"})}

    return of


def test_no_statement_is_prepared_behind_a_pooler(supabase: Supabase) -> None:
    url = supabase.app_url.replace("postgresql://", "postgresql+psycopg://")
    database = Database(url, application_name="test", pool_size=1)
    for _ in range(4):
        with database.transaction() as connection:
            count = connection.exec_driver_sql("SELECT count(*) FROM pg_prepared_statements").scalar_one()
    database.dispose()
    assert count == 0


def test_refresh_listing_and_chats_work_through_the_pooler(shim: Web, bearer: Any) -> None:
    refreshed = shim.post("/api/llms/refresh", headers=bearer("service_role"))
    assert refreshed.status_code == 200, refreshed.text
    assert refreshed.json()["syncResults"]["added"] == 27
    wait_for(lambda: shim.get("/api/llms", headers=bearer("authenticated")).json()["count"] == 27)
    for number in range(12):  # more than the pooler has connections
        chat = shim.post(
            "/api/chasen/chat",
            json={"question": f"Question {number}?"},
            headers={**bearer("authenticated"), "Prefer": "wait=20"},
        )
        assert (chat.status_code, chat.json()["status"]) == (200, "succeeded"), chat.text


def test_a_user_s_chats_are_that_user_s_alone(shim: Web, supabase: Supabase, bearer: Any) -> None:
    mine, other = "6f1e6f1c-0000-4000-8000-000000000002", "6f1e6f1c-0000-4000-8000-000000000003"
    chat = shim.post("/api/chasen/chat", json={"question": "mine"}, headers=bearer("authenticated", mine)).json()
    assert shim.get(f"/api/chats/{chat['id']}", headers=bearer("authenticated", other)).status_code == 404
    count = "SELECT count(*) FROM llm_chats WHERE question = 'mine'"
    assert supabase.query(count, role="authenticated", sub=mine) == [(1,)]
    assert supabase.query(count, role="authenticated", sub=other) == [(0,)]


def test_no_transaction_leaves_its_role_or_claims_in_a_pooled_connection(shim: Web, supabase: Supabase) -> None:
    for _ in range(10):
        with psycopg.connect(supabase.app_url, prepare_threshold=None) as connection:
            row = connection.execute(
                "SELECT current_user::text, coalesce(current_setting('request.jwt.claims', true), '')"
            ).fetchone()
        assert row == ("llm_refresh_app", "")


def test_what_supabase_grants_by_default_is_taken_back(supabase: Supabase) -> None:
    """PostgREST gives these tables to whoever has the public key: policies alone do not stop TRUNCATE or a column."""
    names = ", ".join(f"('{table}')" for table in TABLES)
    granted = supabase.query(
        "SELECT role, name, privilege FROM (VALUES ('anon'), ('authenticated')) AS r (role),"
        f" (VALUES {names}) AS t (name),"
        " unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS privilege"
        " WHERE has_table_privilege(role, 'public.' || name, privilege)"
    )
    assert supabase.query("SELECT count(*) FROM llm_chats", role="operator") != []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        supabase.query("SELECT question FROM llm_chats", role="operator")
    reading = {"llm_models", "llm_catalogue_version", "llm_usage_stats"}  # of llm_chats columns, not the table
    assert set(granted) == {("authenticated", table, "SELECT") for table in reading}
    for table in TABLES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            supabase.query(f"SELECT FROM public.{table}", role="anon")
    supabase.query("SELECT id, question, answer, error_detail FROM llm_chats", role="authenticated")
    for statement in ("SELECT error_cause FROM llm_chats", "UPDATE llm_chats SET answer = 'x'"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            supabase.query(statement, role="authenticated")


def test_the_doctor_knows_the_login_for_a_good_one(supabase: Supabase, shim: Web, tmp_path: Path) -> None:
    from shared.settings import Settings
    from worker.commands.doctor import check_database

    settings = Settings(llm_refresh_env="local", database_url=supabase.app_url, redis_url=supabase.redis_url)
    assert [finding for finding in check_database(settings) if finding.level == "fault"] == []
