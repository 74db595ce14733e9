"""Tokens in the shapes of Supabase, Keycloak, Auth0, Entra and Cognito, and a key set that does not answer."""

import concurrent.futures
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from harness.processes import Web, local_variables, web
from harness.refreshing import catalogue_harness
from harness.servers import Database, Servers
from harness.waiting import wait_for
from shared.catalogue.listing_cache import ListingCache
from shared.settings import read_settings
from tests.integration.web.conftest import SECRET
from tests.support.commands import Commands, LoadedCommands
from tests.support.key_set import Provider
from worker.runtime import build_runtime
from worker.web.app import create_app
from worker.web.auth import Authenticator
from worker.web.key_set import FETCH_SECONDS, KeysUnavailable, fetch_keys
from worker.web.models import ModelRoutes
from worker.web.runs import RunRoutes

SUPABASE = {
    "iss": "https://ref.supabase.co/auth/v1",
    "sub": "8d2a-user",
    "aud": "authenticated",
    "email": "a@b.c",
    "session_id": "x",
    "is_anonymous": False,
    "aal": "aal1",
}
KEYCLOAK = {
    "iss": "https://kc.example/realms/main",
    "sub": "f:1:anna",
    "typ": "Bearer",
    "azp": "app",
    "aud": ["llm-refresh", "account"],
    "resource_access": {"account": {"roles": ["view-profile"]}},
}
AUTH0 = {
    "iss": "https://tenant.eu.auth0.com/",
    "sub": "auth0|5f7c8ec7c33c6c004bbafe82",
    "azp": "client",
    "aud": ["https://llm.example/api", "https://tenant.eu.auth0.com/userinfo"],
    "scope": "openid",
}
ENTRA = {
    "iss": "https://login.microsoftonline.com/tenant/v2.0",
    "sub": "AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
    "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3",
    "azp": "app",
    "tid": "tenant",
    "ver": "2.0",
}
COGNITO = {
    "iss": "https://cognito-idp.eu-central-1.amazonaws.com/pool",
    "sub": "aaaaaaaa-bbbb",
    "token_use": "access",
    "client_id": "7k2example",
    "scope": "aws.cognito.signin.user.admin",
    "username": "anna",
}
AUTH0_CLAIM = "https://example.com/roles"
NAMED = "admin=service_role,user=authenticated"
SUPABASE_MAP = "admin=service_role,authenticated=authenticated"


@pytest.fixture(scope="module")
def migrated(servers: Servers) -> Iterator[Database]:
    with servers.database() as database, catalogue_harness(database.url, None) as catalogue:
        catalogue.seed()
        yield database


@contextlib.contextmanager
def routes(database: Database, servers: Servers, **variables: str) -> Iterator[FlaskClient]:
    """The routes as these settings guard them, without a web process."""
    settings = read_settings(local_variables(database.url, servers.redis_url(), **variables))
    runtime = build_runtime(settings, "test", pool_size=2)
    try:
        listing = ListingCache(runtime.database, runtime.store, stale_after=runtime.cadence.stale_after)
        listing.poll()
        given = [*ModelRoutes(runtime, listing).routes(), *RunRoutes(runtime).routes()]
        yield create_app(settings, given, Authenticator(settings)).test_client()
    finally:
        runtime.close()


@contextlib.contextmanager
def guarded(database: Database, servers: Servers, folder: Path, **variables: str) -> Iterator[Web]:
    given = local_variables(database.url, servers.redis_url(), WEB_CONCURRENCY="1", **variables)
    with web(given, folder) as shim:
        yield shim


def status(shim: Web | FlaskClient, token: str, path: str = "/api/llms") -> int:
    return shim.get(path, headers={"Authorization": f"Bearer {token}"}).status_code


@pytest.mark.parametrize(
    ("algorithm", "audience", "claim", "mapped", "base", "admin", "user", "nobody"),
    [
        (
            "ES256",
            "authenticated",
            "app_metadata.role,role",
            SUPABASE_MAP,
            SUPABASE,
            {"role": "authenticated", "app_metadata": {"provider": "email", "role": "admin"}},
            {"role": "authenticated", "app_metadata": {"provider": "email"}},
            {"role": "anon", "user_metadata": {"role": "admin"}},
        ),
        (
            "RS256",
            "llm-refresh",
            "realm_access.roles",
            NAMED,
            KEYCLOAK,
            {"realm_access": {"roles": ["offline_access", "user", "admin"]}},
            {"realm_access": {"roles": ["uma_authorization", "user"]}},
            {"realm_access": {"roles": ["service_role"]}},
        ),
        (
            "RS256",
            "https://llm.example/api",
            AUTH0_CLAIM,
            NAMED,
            AUTH0,
            {AUTH0_CLAIM: ["admin"]},
            {AUTH0_CLAIM: ["user"]},
            {AUTH0_CLAIM: []},
        ),
        (
            "RS256",
            ENTRA["aud"],
            "roles",
            "LLM.Admin=service_role,LLM.User=authenticated",
            ENTRA,
            {"roles": ["LLM.User", "LLM.Admin"]},
            {"roles": ["LLM.User"]},
            {"scp": "user_impersonation"},
        ),
        (
            "RS256",
            COGNITO["client_id"],
            "cognito:groups",
            NAMED,
            COGNITO,
            {"cognito:groups": ["admin"]},
            {"cognito:groups": ["user"]},
            {"cognito:groups": ["admins"]},
        ),
    ],
    ids=["supabase", "keycloak", "auth0", "entra", "cognito"],
)
def test_tokens_of_a_provider_let_in_whom_its_roles_mean(
    migrated: Database,
    servers: Servers,
    algorithm: str,
    audience: str,
    claim: str,
    mapped: str,
    base: dict[str, Any],
    admin: dict[str, Any],
    user: dict[str, Any],
    nobody: dict[str, Any],
) -> None:
    variables = {"JWT_AUDIENCE": audience, "JWT_ROLE_CLAIM": claim, "JWT_ROLE_MAP": mapped}
    with (
        Provider(algorithm) as provider,
        Provider(algorithm) as stranger,
        routes(migrated, servers, JWKS_URL=provider.url, **variables) as shim,
    ):
        now = time.time()
        assert status(shim, provider.token(**base | admin, iat=now + 2, nbf=now + 2), "/api/llms/runs") == 200
        assert status(shim, provider.token(**base | user)) == 200
        assert status(shim, provider.token(**base | user), "/api/llms/runs") == 403
        assert status(shim, provider.token(**base | nobody)) == 401
        assert status(shim, provider.token(**base | admin | {"aud": "elsewhere"})) == 401
        assert status(shim, provider.token(**base | admin | {"exp": 10**400})) == 401
        assert status(shim, provider.token(**base | admin | {"nbf": now + 120})) == 401
        assert status(shim, stranger.token(**base | admin)) == 401


def test_our_own_tokens_have_the_shape_that_the_settings_ask_for(
    migrated: Database, servers: Servers, loaded: LoadedCommands, tmp_path: Path
) -> None:
    variables = {
        "JWT_SECRET": SECRET,
        "JWT_AUDIENCE": "app",
        "JWT_ROLE_CLAIM": "realm_access.roles",
        "JWT_ROLE_MAP": NAMED,
    }
    with guarded(migrated, servers, tmp_path, **variables) as shim:
        command = Commands(local_variables(migrated.url, "redis://127.0.0.1:1", **variables), tmp_path, loaded)
        for role, expected in (("service_role", 200), ("authenticated", 403)):
            made = command("token", "--role", role)
            assert made.returncode == 0, made.stderr
            assert status(shim, made.stdout.strip(), "/api/llms/runs") == expected


def test_a_key_set_that_does_not_answer_holds_up_nobody(migrated: Database, servers: Servers, tmp_path: Path) -> None:
    claims = {"sub": "anna", "role": "authenticated"}
    variables = {"JWT_SECRET": SECRET}
    with Provider() as provider, guarded(migrated, servers, tmp_path, JWKS_URL=provider.url, **variables) as shim:
        good = provider.token(**claims)
        assert status(shim, good) == 200
        tokens = [provider.token(**claims, jti=str(number)) for number in range(5)]
        provider.mode, provider.fetches = "silent", 0
        provider.rotate("second")
        strangers = [provider.token(**claims, jti=str(number)) for number in range(20)]

        def ask(token: str) -> tuple[int, float]:
            began = time.monotonic()
            answer = shim.get("/api/llms", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code != 503 or int(answer.headers["retry-after"]) > 0
            return answer.status_code, time.monotonic() - began

        # The set was read a moment ago: until it may be asked again, its word on strangers stands.
        wait_for(lambda: ask(strangers[0])[0] == 503, seconds=30)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(ask, strangers[1:] + tokens))
        assert [code for code, _ in answers] == [503] * 19 + [200] * 5
        assert max(seconds for _, seconds in answers) < 10
        assert provider.fetches <= 3
        provider.mode = "good"
        wait_for(lambda: ask(strangers[1])[0] == 200, seconds=30)


@pytest.mark.parametrize("mode", ["silent", "dripping", "broken"])
def test_a_fetch_of_keys_ends_within_its_time(mode: str) -> None:
    with Provider() as provider:
        assert set(fetch_keys(provider.url)) == {"first"}
        provider.mode = mode
        began = time.monotonic()
        with pytest.raises(KeysUnavailable):
            fetch_keys(provider.url, seconds=1)
        assert time.monotonic() - began < FETCH_SECONDS + 5
