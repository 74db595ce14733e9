"""Addresses: what every parser reads alike is taken; the rest is refused without a word of it."""

from urllib.parse import quote, unquote, urlsplit

import pytest
from celery import Celery
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.utils.url import parse_url as kombu_parse
from redis.connection import parse_url as redis_parse
from sqlalchemy.engine import make_url

from shared import addresses

BACKEND = Celery("addresses", backend="redis://localhost").backend
SIGNS = st.text(st.characters(blacklist_categories=("Cs",)), min_size=6, max_size=24)
"""What people have in passwords, and what they have not."""


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("postgresql://app:a:b@db/x", "postgresql+psycopg://app:a:b@db/x"),
        ("postgres://app:a%2Fb%23@db:6543/x", "postgresql+psycopg://app:a%2Fb%23@db:6543/x"),
        ("postgresql://a:p@h:6543/d?pgbouncer=true&connection_limit=1", "postgresql+psycopg://a:p@h:6543/d"),
        ("postgresql://h/d?pgbouncer=true&sslmode=require", "postgresql+psycopg://h/d?sslmode=require"),
        ("postgresql:///d?host=/var/run/postgresql", "postgresql+psycopg:///d?host=/var/run/postgresql"),
        ("postgresql://u:p@[::1]:5432/d", "postgresql+psycopg://u:p@[::1]:5432/d"),
        (" postgresql://h/d\n", "postgresql+psycopg://h/d"),
    ],
)
def test_addresses_of_postgresql_that_are_taken(address: str, taken: str) -> None:
    assert addresses.database_url(address) == taken


@pytest.mark.parametrize(
    "address",
    [
        "",
        "db",
        "postgresql://",
        "mysql://h/d",
        "postgresql://app:Sup3rS3cret/more@db/x",
        "postgresql://app:Sup3rS3cret#more@db/x",
        "postgresql://app:Sup3rS3cret?more@db/x",
        "postgresql://app:Sup3rS3cret@more@db/x",
        "postgresql://app:Sup3rS3cret%more@db/x",
        "postgresql://app:12345678/more@db/x",
        "postgresql://app:54321?more@db/x",
        "postgresql://app:Sup3rS3cret more@db/x",
        "postgresql://app:Sup3rS3cret@db:54a/x",
        "postgresql://app:Sup3rS3cret@db:/x",
        "postgresql://app:Sup3rS3cret@db:0/x",
        "postgresql://app:Sup3rS3cret@h1:1,h2:2/x",
        "postgresql://app:Sup3rS3cret@db/x?bogus=Sup3rS3cret",
        "postgresql://app:Sup3rS3cret@db/x?Sup3rS3cret",
        "postgresql://app:Sup3rS3cret@db/x?sslmode=Sup3rS3cret",
        "postgresql://app:Sup3rS3cret@db/x?port=Sup3rS3cret",
        "postgresql://app:Sup3rS3cret@db/x?sslmode=require&sslmode=disable",
    ],
)
def test_addresses_of_postgresql_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        addresses.database_url(address)
    assert not any(piece in str(refused.value) for piece in ("Sup3", "more", "1234", "54321", "54a"))


@pytest.mark.parametrize(
    ("address", "taken"),
    [
        ("redis://:a:b@h", "redis://:a:b@h"),
        ("redis://user:a%3Bb@h:1/3", "redis://user:a%3Bb@h:1/3"),
        (
            "rediss://:p@h?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/x",
            "rediss://:p@h?ssl_cert_reqs=required&ssl_ca_certs=/x",
        ),
    ],
)
def test_addresses_of_redis_that_are_taken(address: str, taken: str) -> None:
    assert addresses.redis_url(address) == taken


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:6379",
        "redis://",
        "redis:///0",
        "unix:///run/redis",
        "redis://user:Sup3rS3cret#more@h",
        "redis://:Sup3rS3cret/more@h",
        "redis://:Sup3rS3cret;more@h",
        "redis://Sup3rS3cret@h",
        "redis://h:6379a",
        "redis://:Sup3rS3cret@h:0/0",
        "redis://:Sup3rS3cret@h/more",
        "redis://:Sup3rS3cret@h?bogus=1",
        "redis://:Sup3rS3cret@h/0?db=1",
        "redis://:Sup3rS3cret@h?ssl_cert_reqs=none",
        "rediss://:Sup3rS3cret@h?ssl_cert_reqs=Sup3rS3cret",
    ],
)
def test_addresses_of_redis_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r".+") as refused:
        addresses.redis_url(address)
    assert not any(piece in str(refused.value) for piece in ("Sup3", "more", "6379a"))


@given(
    user=SIGNS,
    password=SIGNS,
    host=st.sampled_from(["db", "10.0.0.1", "a-b.example", "[::1]"]),
    port=st.integers(1, 65535),
)
def test_an_encoded_password_reaches_every_parser(user: str, password: str, host: str, port: int) -> None:
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    if "\x00" not in user + password:  # libpq ends a text there
        made = make_url(addresses.database_url(f"postgresql://{login}@{host}:{port}/d"))
        assert (made.username, made.password, made.host, made.port) == (user, password, host.strip("[]"), port)
    url = addresses.redis_url(f"redis://{login}@{host}:{port}/7")
    read, sent, kept = redis_parse(url), kombu_parse(url), BACKEND._params_from_url(url, {})
    assert (read["username"], read["password"], read["port"], read["db"]) == (user, password, port, 7)
    assert (sent["userid"], sent["password"], sent["port"], sent["virtual_host"]) == (user, password, port, "7")
    assert (kept["username"], kept["password"], kept["port"], kept["db"]) == (user, password, port, 7)
    assert read["host"] == sent["hostname"] == kept["host"] == host.strip("[]")
    assert password in set(addresses.secrets_in(url))


@given(password=st.lists(st.text(max_size=8), min_size=2, max_size=4).map("Zq".join))
@example(password="12345/xZq")
@example(password="1234@56Zq")
@example(password="a%41bcdZq")
@example(password="54321?Zq")
@example(password="54321?zq_zq=Zq")
@example(password="[::1]:5Zq")
def test_a_password_as_it_is_is_read_alike_or_refused(password: str) -> None:
    for check, url in (
        (addresses.database_url, f"postgresql://app:{password}@db:5432/x"),
        (addresses.redis_url, f"redis://app:{password}@db:5432/1"),
    ):
        try:
            taken = check(url)
        except ValueError as refused:
            assert "zq" not in str(refused).lower()
            continue
        expected = unquote(password)
        if check is addresses.database_url:
            made = make_url(taken)
            assert (made.username, made.password, made.host, made.port) == ("app", expected, "db", 5432)
        else:
            read, sent, kept = redis_parse(taken), kombu_parse(taken), BACKEND._params_from_url(taken, {})
            assert (read["password"], sent["password"], kept["password"]) == (expected, expected, expected)
            assert read["host"] == sent["hostname"] == kept["host"] == "db"


@given(
    text=st.text(max_size=60)
    | st.builds("{}://{}".format, st.sampled_from(["http", "redis", "postgresql"]), st.text(max_size=60))
)
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    for check in (addresses.database_url, addresses.redis_url, addresses.web_address, addresses.origins):
        try:
            check(text)
        except ValueError as refused:
            assert type(refused) is ValueError
            assert str(refused)
            assert "\n" not in str(refused)


@pytest.mark.parametrize(
    ("given_origins", "taken"),
    [
        ("https://App.Example:443/", ("https://app.example",)),
        ("http://a.example:80", ("http://a.example",)),
        ("https://a.example:80", ("https://a.example:80",)),
        ("http://localhost:5173, https://b.example:8443,", ("http://localhost:5173", "https://b.example:8443")),
        ("HTTPS://münchen.example", ("https://xn--mnchen-3ya.example",)),
        ("capacitor://localhost", ("capacitor://localhost",)),
        ("", ()),
    ],
)
def test_origins_are_written_as_browsers_send_them(given_origins: str, taken: tuple[str, ...]) -> None:
    assert addresses.origins(given_origins) == taken


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "app.example",
        "https://a.example/x",
        "https://u:p@a.example",
        "https://a.example?x",
        "https://*.a.example",
    ],
)
def test_origins_that_would_never_match_are_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        addresses.origins(origin)


@pytest.mark.parametrize(
    "address",
    [
        "https://u:p@h/x",
        "https://h:99999/",
        "https://h:x/",
        "http://",
        "https://h\\@e/x",
        "ftp://h",
        "h/x",
        "https://a b/",
    ],
)
def test_web_addresses_that_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        addresses.web_address(address)


def test_a_slash_at_the_end_is_dropped_only_where_paths_follow() -> None:
    assert addresses.web_address(" https://h/hooks/ ") == "https://h/hooks/"
    assert addresses.base_address(addresses.web_address("https://h/rest/api/v1/")) == "https://h/rest/api/v1"


def test_secrets_of_an_address_are_those_of_its_login_and_its_query() -> None:
    url = "postgresql://u:a%2Fb@h/d?password=other&sslpassword=third&sslmode=require"
    assert set(addresses.secrets_in(url)) == {"a%2Fb", "a/b", "other", "third"}
    assert list(addresses.secrets_in("redis://h:x")) == []
    assert urlsplit(url).password == "a%2Fb"
