"""Claims of whoever signs tokens: read within bounds, and every absurd one refused."""

import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db import Caller
from shared.roles import ROLES, claim_names, role_map
from shared.settings import SettingsError, read_settings
from tests.unit.test_settings import LOCAL
from worker.web.auth import Authenticator
from worker.web.problems import Problem
from worker.web.token_claims import LATEST, ClaimsRefused, Rules, caller_of, claims_for

NOW = 1_800_000_000.0
SECRET = "a-secret-for-these-tests-of-more-than-32-bytes"
GOOD: dict[str, Any] = {"sub": "anna", "role": "authenticated", "exp": NOW + 60}


def caller(rules: Rules | None = None, **claims: Any) -> Caller:
    return caller_of(GOOD | claims, rules or Rules(), NOW)[0]


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_clock_that_is_ahead_by_half_a_minute_is_forgiven(name: str) -> None:
    for seconds in (-3600, 0, 2, 29.5):
        assert caller(**{name: NOW + seconds}).subject == "anna"
    with pytest.raises(ClaimsRefused, match=name):
        caller(**{name: NOW + 31})


def test_a_token_that_has_expired_is_not_forgiven() -> None:
    with pytest.raises(ClaimsRefused, match="expired"):
        caller(exp=NOW - 1)


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize(
    "value", [10**400, -(10**400), float("inf"), float("nan"), LATEST + 1, "1900000000", True, [1], {}]
)
def test_a_moment_that_is_none_is_refused(name: str, value: object) -> None:
    with pytest.raises(ClaimsRefused, match=name):
        caller(**{name: value})


@pytest.mark.parametrize("value", [None, "", "a" * 256, "a\nb", 7, ["anna"], {"a": 1}])
def test_a_subject_that_is_no_short_text_is_refused(value: object) -> None:
    with pytest.raises(ClaimsRefused, match="sub"):
        caller(sub=value)


@pytest.mark.parametrize(
    ("claims", "right"),
    [
        ({"aud": "app"}, True),
        ({"aud": ["other", "app"]}, True),
        ({"client_id": "app"}, True),
        ({"client_id": "app", "aud": "other"}, False),
        ({"client_id": "app", "aud": []}, False),
        ({"aud": "application"}, False),
        ({"aud": {"app": 1}}, False),
        ({"client_id": "other"}, False),
        ({}, False),
    ],
)
def test_an_audience_is_the_tokens_aud_or_where_there_is_none_its_client(claims: dict[str, Any], right: bool) -> None:
    if right:
        assert caller(Rules("app"), **claims).subject == "anna"
    else:
        with pytest.raises(ClaimsRefused, match="audience"):
            caller(Rules("app"), **claims)


URL = "https://example.com/roles"


@pytest.mark.parametrize(
    ("paths", "claims", "role"),
    [
        (("role",), {"role": "service_role"}, "service_role"),
        (("role",), {"role": ["authenticated", "service_role"]}, "service_role"),
        (("scope",), {"scope": "openid authenticated"}, "authenticated"),
        (("app_metadata.role",), {"app_metadata": {"role": "service_role"}}, "service_role"),
        (("realm_access.roles",), {"realm_access": {"roles": ["offline", "authenticated"]}}, "authenticated"),
        (("access.my.app.roles",), {"access": {"my.app": {"roles": ["service_role"]}}}, "service_role"),
        ((URL,), {URL: ["service_role"]}, "service_role"),
        (("cognito:groups",), {"cognito:groups": ["authenticated"]}, "authenticated"),
        (("app_metadata.role", "role"), {"role": "authenticated"}, "authenticated"),
        (("app_metadata.role", "role"), {"app_metadata": {"role": "service_role"}}, "service_role"),
        (("a.b",), {"a": {"b": "service_role"}, "a.b": "authenticated"}, "authenticated"),
    ],
)
def test_a_role_is_found_where_it_stands_and_the_highest_counts(
    paths: tuple[str, ...], claims: dict[str, Any], role: str
) -> None:
    assert caller(Rules(None, paths), **claims).role == role


@pytest.mark.parametrize(
    ("paths", "claims"),
    [
        (("role",), {"role": None}),
        (("role",), {"role": "admin"}),
        (("role",), {"role": {"service_role": True}}),
        (("role",), {"role": [["service_role"], 5, None]}),
        (("role",), {"role": "Service_Role"}),
        (("app_metadata.role",), {"app_metadata": "service_role"}),
        (("app_metadata.role",), {"app_metadata": {"Role": "service_role"}}),
        (("app_metadata.role",), {"role": "service_role"}),
        (("a.b.c",), {"a": {"b": {"d": "service_role"}}}),
        ((URL,), {"https://example": {"com/roles": 5}}),
    ],
)
def test_a_role_that_is_not_there_or_not_ours_is_refused(paths: tuple[str, ...], claims: dict[str, Any]) -> None:
    with pytest.raises(ClaimsRefused, match="role"):
        caller(Rules(None, paths), **claims)


def test_where_nothing_is_said_about_roles_a_role_is_one_text() -> None:
    for variables, expected in (
        ({}, False),
        ({"JWT_ROLE_CLAIM": "role"}, True),
        ({"JWT_ROLE_MAP": "admin=service_role"}, True),
    ):
        rules = Rules.of(read_settings(LOCAL | variables))
        role = "service_role" if rules.role_map is None else "admin"
        assert caller(rules, role=role).role == "service_role"
        for several in ([role], f"openid {role}"):
            if expected:
                assert caller(rules, role=several).role == "service_role"
            else:
                with pytest.raises(ClaimsRefused, match="role"):
                    caller(rules, role=several)


def test_a_map_is_the_whole_truth() -> None:
    rules = Rules(None, ("role",), {"admin": "service_role", "user": "authenticated"})
    assert caller(rules, role="admin").role == "service_role"
    assert caller(rules, role=["user", "admin", "guest"]).role == "service_role"
    assert caller(rules, role=["guest", "user"]).role == "authenticated"
    for name in ("service_role", "guest"):
        with pytest.raises(ClaimsRefused, match="admin, user"):
            caller(rules, role=name)


def test_a_map_is_read_from_its_setting() -> None:
    assert role_map(" admin=service_role, user=authenticated,") == (
        ("admin", "service_role"),
        ("user", "authenticated"),
    )
    assert role_map("a=b=service_role") == (("a=b", "service_role"),)
    assert claim_names(" app_metadata.role , role") == "app_metadata.role,role"
    for name, wrong in {
        "JWT_ROLE_MAP": ["admin", "admin=", "=service_role", "admin=root", "a=service_role,a=authenticated"],
        "JWT_ROLE_CLAIM": [",", "role,", "a\tb"],
    }.items():
        for value in wrong:
            with pytest.raises(SettingsError, match=f"^{name}: ") as refused:
                read_settings(LOCAL | {name: value})
            assert "root" not in str(refused.value)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "rules",
    [
        Rules(),
        Rules("app", ("app_metadata.role", "role")),
        Rules(None, (URL,), {"admin": "service_role", "viewer": "operator", "user": "authenticated"}),
        Rules(
            None,
            ("realm_access.roles",),
            {"a": "service_role", "b": "authenticated", "c": "authenticated", "d": "operator"},
        ),
    ],
)
def test_a_token_that_we_make_has_the_shape_that_we_take(role: Any, rules: Rules) -> None:
    claims = claims_for(role, rules) | {"sub": "operator", "exp": NOW + 1}
    assert caller_of(claims, rules, NOW)[0] == Caller(role, "operator")
    with pytest.raises(LookupError):
        claims_for("service_role", Rules(None, ("role",), {"user": "authenticated"}))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ROLES),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["sub", "role", "exp", "iat", "nbf", "aud", "client_id", "app_metadata", "iss", "jti"]), JSON
)


@given(CLAIMS)
def test_any_signed_claims_are_a_caller_or_a_401(claims: dict[str, Any]) -> None:
    settings = read_settings(LOCAL | {"JWT_SECRET": SECRET, "JWT_ROLE_CLAIM": "app_metadata.role,role"})
    token = jwt.api_jws.encode(json.dumps(claims).encode(), SECRET, "HS256")
    _answered(Authenticator(settings), f"Bearer {token}")


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk"]), JSON))
def test_any_header_and_any_bytes_are_a_401(payload: bytes, header: dict[str, Any]) -> None:
    settings = read_settings(LOCAL | {"JWT_SECRET": SECRET})
    encoded = jwt.utils.base64url_encode(json.dumps(header).encode()).decode()
    body = jwt.utils.base64url_encode(payload).decode()
    for token in (f"{encoded}.{body}.", f"{encoded}.{body}.{body}", payload.decode(errors="replace")):
        assert _answered(Authenticator(settings), f"Bearer {token}") == 401


@pytest.mark.parametrize(
    "payload", ["[" * 4000, '{"exp":' + "9" * 4000 + "}", '{"exp": 1e999}', "{}" * 5, "[]", "5", "\x00"]
)
def test_payloads_without_end_are_a_401(payload: str) -> None:
    settings = read_settings(LOCAL | {"JWT_SECRET": SECRET})
    token = jwt.api_jws.encode(payload.encode(), SECRET, "HS256")
    assert _answered(Authenticator(settings), f"Bearer {token}") == 401
    nested = jwt.utils.base64url_encode(payload.encode()).decode()
    assert _answered(Authenticator(settings), f"Bearer {nested}.{nested}.{nested}") == 401


def _answered(authenticator: Authenticator, header: str) -> int:
    try:
        identity = authenticator.caller(header)
    except Problem as problem:
        assert problem.status == 401
        return 401
    assert identity.role in ROLES
    assert authenticator.cached_caller(header) is not None
    assert time.time() > 0
    return 200
