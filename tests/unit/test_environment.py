"""Variables from files: their encodings, half a line, and names that nobody reads."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.settings import NAMES, SettingsError, environment_with_files, misnamed, read_settings
from tests.unit.test_settings import LOCAL

LINES = "PORT=4000\nMATCHAAI_API_KEY='a b=c'\nFLOWER_PASSWORD=\"äöü\"\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_a_dotenv_of_windows_is_read_like_any_other(tmp_path: Path, encoding: str, ends: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(LINES.replace("\n", ends).encode(encoding))
    read = environment_with_files({}, file)
    assert read == {"PORT": "4000", "MATCHAAI_API_KEY": "a b=c", "FLOWER_PASSWORD": "äöü"}


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode("latin-1"),
        LINES.encode("utf-16-le"),
        LINES.encode("utf-16")[:-1],
        b"PORT=4000\nJWT_SECRET='half of a li",
        b"PORT=4000\nJWT_SECRET\n",
        b"PORT=4000\n=5\n",
    ],
)
def test_a_dotenv_that_cannot_be_read_is_one_line_without_a_value(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^\.env: ") as wrong:
        read_settings(LOCAL, file)
    assert "\n" not in str(wrong.value)
    assert not any(piece in str(wrong.value) for piece in ("half", "4000", "a b"))


def test_a_secret_in_a_file_may_have_a_mark_and_ends_of_windows(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes("s3cret-wörd\r\n".encode("utf-16"))
    assert environment_with_files({"JWT_SECRET_FILE": str(file)}, None) == {"JWT_SECRET": "s3cret-wörd"}
    file.write_bytes("s3cret-wörd".encode("latin-1"))
    with pytest.raises(SettingsError, match=r"^JWT_SECRET_FILE: .*UTF-8"):
        environment_with_files({"JWT_SECRET_FILE": str(file)}, None)


def test_a_secret_given_as_the_name_of_its_file_is_not_repeated() -> None:
    with pytest.raises(SettingsError, match=r"^JWT_SECRET_FILE: ") as wrong:
        read_settings(LOCAL | {"JWT_SECRET_FILE": "the-secret-itself"})
    assert "the-secret-itself" not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CHAT_CONCURENCY", "CHAT_CONCURRENCY"),
        ("chat_concurrency", "CHAT_CONCURRENCY"),
        ("CHAT-CONCURRENCY", "CHAT_CONCURRENCY"),
        ("CORS_ORIGIN", "CORS_ORIGINS"),
        ("DATABASE_URI", "DATABASE_URL"),
        ("JWT_SECRETS", "JWT_SECRET"),
        ("JWT_SECRET_FIEL", "JWT_SECRET_FILE"),
        ("MATCHAAI_TEMPERATURE", None),
    ],
)
def test_a_name_that_looks_like_ours_is_told(tmp_path: Path, name: str, meant: str | None) -> None:
    (line,) = misnamed({name: "10"}, None)
    assert line.startswith(f"{name} is not read")
    assert meant is None or line.endswith(f": {meant} is")
    file = tmp_path / ".env"
    file.write_text(f"{name}=10\n")
    assert misnamed({}, file) == [line]


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "LANG",
        "PORTS",
        "REDIS_PORT",
        "REDIS_SERVICE_HOST",
        "POSTGRES_PASSWORD",
        "FLOWER_BASIC_AUTH",
        "LOGNAME",
        "LLM_REFRESH_POSTGRES_BIN",
        "WEB_ADDRESS",
        "COMPOSE_FILE",
        "LLM_REFRESH_URL",
        "LLM_REFRESH_TOKEN",
    ],
)
def test_a_name_of_somebody_else_is_left_alone(name: str) -> None:
    assert misnamed({name: "1"}, None) == []


def test_every_name_of_ours_is_known() -> None:
    assert misnamed(dict.fromkeys([*NAMES, *(f"{name}_FILE" for name in NAMES)], "1"), None) == []


@given(st.binary(max_size=200))
def test_any_bytes_are_variables_or_one_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "any.env"
    file.write_bytes(content)
    try:
        environment_with_files({}, file)
        misnamed({}, file)
    except SettingsError as wrong:
        assert "\n" not in str(wrong)
