"""Mechanisms at the edges: roles in PostgreSQL, tokens, requests, log lines, the gateway, waits."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_DATABASE = "tests/integration/test_database.py"
_AUTH = "tests/integration/web/test_auth.py"
_CLAIMS = "tests/unit/web/test_token_claims.py"
_SHIM = "tests/integration/web/test_shim.py"
_LOGS = "tests/unit/test_logs.py::test_no_secret_token_or_password_of_an_address_stands_in_any_line"

MUTANTS = (
    Mutant(
        "prepared-behind-a-pooler",
        "shared/connections.py",
        " if prepares and _is_direct(connection) else None",
        " if prepares else None",
        ("tests/integration/supabase/test_supabase.py::test_no_statement_is_prepared_behind_a_pooler",),
    ),
    Mutant(
        "preparing-after-a-swap",
        "shared/db.py",
        "            self._prepares &= failure.sqlstate == _OUTDATED\n",
        "",
        (
            "tests/integration/test_database.py::test_a_statement_that_is_not_prepared_any_more_ends_preparing_and_is_not_now",
        ),
    ),
    Mutant(
        "role-switch",
        "shared/db.py",
        "\"SELECT set_config('role', %s, true), ",
        "\"SELECT set_config('llm.role', %s, true), ",
        (
            f"{_DATABASE}::test_authenticated_reads_active_models_and_nothing_else",
            f"{_DATABASE}::test_a_role_and_a_caller_last_for_one_transaction",
        ),
    ),
    Mutant(
        "role-for-one-transaction",
        "shared/db.py",
        "\"SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true),\"",
        "\"SELECT set_config('role', %s, false), set_config('request.jwt.claims', %s, false),\"",
        (f"{_DATABASE}::test_a_role_and_a_caller_last_for_one_transaction",),
    ),
    Mutant(
        "statement-timeout",
        "shared/db.py",
        " set_config('statement_timeout', %s, true), ",
        " set_config('llm.timeout', %s, true), ",
        (f"{_DATABASE}::test_a_wait_that_took_too_long_is_not_now_rather_than_not_like_this",),
    ),
    Mutant(
        "masking-of-secrets",
        "shared/logs.py",
        '                line = line.replace(secret, "[secret]")\n',
        "                pass\n",
        (_LOGS,),
    ),
    Mutant(
        "masking-of-tokens",
        "shared/logs.py",
        '            line = _BEARER.sub("Bearer [secret]", line)\n',
        "            pass\n",
        (_LOGS,),
    ),
    Mutant(
        "masking-of-addresses",
        "shared/logs.py",
        '            line = _ADDRESS_PASSWORD.sub(r"\\1[secret]@", line)\n',
        "            pass\n",
        (_LOGS,),
    ),
    Mutant(
        "token-signature",
        "worker/web/auth.py",
        'return jwt.decode(token, self._secret, algorithms=["HS256"], options=_UNCHECKED)',
        'return jwt.decode(token, options=_UNCHECKED | {"verify_signature": False})',
        (f"{_AUTH}::test_no_broken_expired_and_foreign_tokens_are_a_401",),
    ),
    Mutant(
        "token-audience",
        "worker/web/token_claims.py",
        "    if rules.audience is not None and not _is_for(claims, rules.audience):\n",
        "    if False:\n",
        (
            f"{_AUTH}::test_no_broken_expired_and_foreign_tokens_are_a_401",
            f"{_CLAIMS}::test_an_audience_is_the_tokens_aud_or_where_there_is_none_its_client",
        ),
    ),
    Mutant(
        "token-expiry",
        "worker/web/token_claims.py",
        "    if expires <= now:\n",
        "    if False:\n",
        (f"{_CLAIMS}::test_a_token_that_has_expired_is_not_forgiven",),
    ),
    Mutant(
        "token-expiry-of-remembered",
        "worker/web/auth.py",
        "        if entry is not None and self._now() < entry.due:\n",
        "        if entry is not None:\n",
        (f"{_AUTH}::test_a_remembered_token_is_forgotten_when_it_expires",),
    ),
    Mutant(
        "roles-of-routes",
        "worker/web/routing.py",
        "        if route.roles is not None and caller.role not in route.roles:\n",
        "        if False:\n",
        (f"{_AUTH}::test_what_takes_service_role_is_a_403_for_others",),
    ),
    Mutant(
        "host-check",
        "worker/web/app.py",
        '        if settings.auth_off and _host_name(request.headers.get("Host", "")) not in LOOPBACK_NAMES:\n',
        "        if False:\n",
        (f"{_SHIM}::test_another_host_name_does_not_reach_a_server_without_auth",),
    ),
    Mutant(
        "origin-check",
        "worker/web/app.py",
        "if settings.auth_off and request.method not in _SAFE and not _may_write(origin, settings.cors_origins):",
        "if False:",
        (f"{_SHIM}::test_a_page_elsewhere_cannot_start_anything_without_auth",),
    ),
    Mutant(
        "whole-bodies",
        "worker/web/validation.py",
        "    if expected is not None and len(data) < expected:\n",
        "    if False:\n",
        ("tests/integration/web/test_odd_requests.py::test_a_body_shorter_than_its_length_is_a_400",),
    ),
    Mutant(
        "silence-is-asked-by-one",
        "shared/db.py",
        '        if not self._silence.may_ask():\n            raise DatabaseUnavailable("silent")\n',
        "",
        (
            "tests/integration/test_silent_postgresql.py"
            "::test_a_server_that_never_greets_is_given_up_and_then_refused_at_once",
        ),
    ),
    Mutant(
        "waits-end-with-the-process",
        "worker/web/gunicorn_worker.py",
        "        gevent.spawn(self._end_waits)\n",
        "        pass\n",
        ("tests/integration/web/test_stopping.py::test_who_waits_is_answered_before_the_process_ends",),
    ),
    Mutant(
        "messages-given-back-or-not",
        "worker/broker.py",
        "            self.QoS = QoS ",
        "            pass ",
        ("tests/integration/test_broker.py::test_messages_that_cannot_be_given_back_are_no_panic",),
    ),
)
