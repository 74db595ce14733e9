"""Settings: read from a mapping, wrong ones named in one line."""

import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.settings import NAMES, SettingsError, read_settings, secrets_of

LOCAL = {
    "LLM_REFRESH_ENV": "local",
    "DATABASE_URL": "postgresql://app:secret-word@127.0.0.1:5432/d",
    "REDIS_URL": "redis://:other-word@127.0.0.1:6379/0",
}


def test_defaults_are_those_of_the_contract() -> None:
    settings = read_settings(LOCAL)
    assert (settings.port, settings.flower_port, settings.refresh_cron, settings.refresh_timezone) == (
        3002,
        5555,
        "0 0 * * *",
        "UTC",
    )
    assert (settings.refresh_max_shrink, settings.refresh_grace_syncs, settings.refresh_grace_min_hours) == (
        0.5,
        2,
        None,
    )
    assert (settings.chat_concurrency, settings.chat_lease_seconds, settings.chat_deadline_seconds) == (200, 30, 600)
    assert settings.matchaai_default_model == "claude-3-7-sonnet"
    assert settings.auth_off
    assert not settings.upstream_given


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REFRESH_CRON", "61 * * * *"),
        ("REFRESH_CRON", "every night"),
        ("REFRESH_TIMEZONE", "Mars/Olympus"),
        ("PORT", "http"),
        ("PORT", "70000"),
        ("REFRESH_MAX_SHRINK", "1.5"),
        ("MATCHAAI_BASE_URL", "matcha.example"),
        ("MATCHAAI_BASE_URL", "https://matcha.example:abc/rest"),
        ("MATCHAAI_BASE_URL", "https://matcha.example:99999/rest"),
        ("MATCHAAI_BASE_URL", "https://matcha.example/rest?x=1"),
        ("MATCHAAI_BASE_URL", "https://matcha.example/rest#x"),
        ("MATCHAAI_BASE_URL", "https://matcha.example/re st"),
        ("MATCHAAI_MISSION_ID", "seven"),
        ("MATCHAAI_MODEL_FIELD", "model"),
        ("DATABASE_URL", "mysql://host/db"),
        ("REDIS_URL", "127.0.0.1:6379"),
        ("LOG_LEVEL", "loud"),
        ("LLM_REFRESH_ENV", "staging"),
        ("CHAT_CONCURRENCY", "0"),
        ("CHAT_DEADLINE_SECONDS", "inf"),
        ("CHAT_LEASE_SECONDS", "nan"),
        ("CHAT_RETENTION_DAYS", "1e300"),
        ("CHAT_MAX_QUEUED", "9" * 40),
        ("MATCHAAI_MISSION_ID", "-1"),
        ("DATABASE_URL", "postgresql://app:Sup3rS3cret/more@db/x"),
        ("REDIS_URL", "redis://user:Sup3r#more@db"),
        ("CORS_ORIGINS", "*"),
        ("FLOWER_PASSWORD", "passwörd"),
        ("FLOWER_USER", "a:b"),
        ("NOTIFY_WEBHOOK_SECRET", "whsec_c2hvcnQ="),
        ("NOTIFY_WEBHOOK_SECRET", "whsec_nothing-like-base64"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        read_settings(LOCAL | {name: value})
    assert str(wrong.value).startswith(f"{name}: ")
    assert value not in str(wrong.value).removeprefix(name) or len(value) < 4
    assert "\n" not in str(wrong.value)


def test_addresses_that_are_called_as_they_stand_may_hold_a_query() -> None:
    hook, keys = "https://hook.example/in?token=x", "https://keys.example/keys?appid=1"
    given = {"NOTIFY_WEBHOOK_URL": hook, "NOTIFY_WEBHOOK_SECRET": "s" * 32, "JWKS_URL": keys}
    settings = read_settings(LOCAL | given)
    assert (settings.notify_webhook_url, settings.jwks_url) == (hook, keys)


def test_production_without_a_way_to_verify_tokens_does_not_start() -> None:
    with pytest.raises(SettingsError, match="JWT_SECRET"):
        read_settings(LOCAL | {"LLM_REFRESH_ENV": "production"})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL is missing"):
        read_settings({})


def test_secrets_come_from_files_and_never_print(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("a-long-secret-of-at-least-32-bytes!!\n")
    settings = read_settings(LOCAL | {"JWT_SECRET_FILE": str(file)})
    assert settings.jwt_secret is not None
    assert settings.jwt_secret.get_secret_value() == "a-long-secret-of-at-least-32-bytes!!"
    for secret in ("a-long-secret", "secret-word", "other-word"):
        assert secret not in repr(settings)
    assert set(secrets_of(settings)) == {"a-long-secret-of-at-least-32-bytes!!", "secret-word", "other-word"}


def test_a_secret_given_twice_and_a_file_that_cannot_be_read_are_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="given twice"):
        read_settings(LOCAL | {"JWT_SECRET": "x" * 32, "JWT_SECRET_FILE": "y"})
    with pytest.raises(SettingsError, match="JWT_SECRET_FILE"):
        read_settings(LOCAL | {"JWT_SECRET_FILE": str(tmp_path / "none")})


def test_an_empty_value_counts_as_not_set() -> None:
    assert read_settings(LOCAL | {"PORT": "", "JWT_SECRET": ""}).port == 3002


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    dotenv = tmp_path / ".env"
    dotenv.write_text("PORT=4000\nFLOWER_PORT=4001\n")
    settings = read_settings(LOCAL | {"PORT": "5000"}, dotenv)
    assert (settings.port, settings.flower_port) == (5000, 4001)


def test_a_command_takes_what_make_up_left_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps(LOCAL | {"PORT": "3100"}))
    left = read_settings({"LLM_REFRESH_HOME": str(tmp_path)})
    assert (left.local, left.port) == (True, 3100)
    read = read_settings({"LLM_REFRESH_HOME": str(tmp_path), "PORT": "3200"})
    assert read.port == 3200
    with pytest.raises(SettingsError, match="REDIS_URL is missing"):
        read_settings({"LLM_REFRESH_HOME": str(tmp_path), "DATABASE_URL": "postgresql://h/d"})


@given(name=st.sampled_from(sorted(NAMES)), value=st.text(max_size=40))
def test_any_value_is_taken_or_named_in_one_line(name: str, value: str) -> None:
    assume(name != "LLM_REFRESH_ENV" or value.strip() not in ("", "production"))  # production needs more than LOCAL has
    try:
        settings = read_settings(LOCAL | {name: value})
    except SettingsError as wrong:
        assert str(wrong).startswith(name)
        assert "\n" not in str(wrong)
    else:
        assert all(secret for secret in secrets_of(settings))
