"""Which addresses events are sent to, and which never."""

import ipaddress
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.notices.post import AddressRefused
from shared.webhooks.destinations import check_url, guarded_socket, refusal_of

NEVER = [
    "169.254.169.254",
    "fe80::1",
    "fe80::1%eth0",
    "0.0.0.0",
    "0.1.2.3",
    "::",
    "224.0.0.1",
    "ff02::1",
    "240.0.0.1",
    "255.255.255.255",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "nothing",
]
LOOPBACK = ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"]
ALLOWED = ["10.1.2.3", "172.16.0.1", "192.168.1.1", "fd12::1", "93.184.216.34", "2606:2800:220:1::1", "::ffff:10.0.0.1"]


@pytest.mark.parametrize("address", NEVER)
@pytest.mark.parametrize("local", [True, False])
def test_link_local_and_senseless_addresses_are_refused(address: str, local: bool) -> None:
    assert refusal_of(address, local=local) is not None


@pytest.mark.parametrize("address", LOOPBACK)
def test_loopback_is_for_local_mode(address: str) -> None:
    assert refusal_of(address, local=True) is None
    assert "local mode" in str(refusal_of(address, local=False))


@pytest.mark.parametrize("address", ALLOWED)
def test_private_and_public_addresses_are_allowed(address: str) -> None:
    assert refusal_of(address, local=False) is None


@given(st.ip_addresses(v=4, network="169.254.0.0/16"))
def test_no_form_of_a_link_local_address_is_allowed(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    forms = [address, *(ipaddress.IPv6Address(base + number) for base in (0, 0xFFFF << 32, 0x64FF9B << 96))]
    forms.append(ipaddress.IPv6Address((0x2002 << 112) + (number << 80)))
    assert all(refusal_of(str(form), local=True) for form in forms)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/x", "https://"),
        ("ftp://hooks.example/x", "must be an address such as"),
        ("hooks.example", "must be an address such as"),
        ("https://user:secret@hooks.example/x", "no user or password"),
        ("https://hooks.example/" + "x" * 2000, "2000 characters"),
        ("https://hooks.example/#part", "must hold no #"),
        ("https://[fe80::1]/x", "link-local"),
        ("https://169.254.169.254/latest", "link-local"),
        ("https://127.0.0.1/x", "loopback"),
        ("https://metadata.example/x", "link-local"),
    ],
)
def test_an_address_that_is_none_says_why(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        check_url(url, local=False, resolve=lambda host, seconds: ["10.0.0.1", "169.254.169.254"])


def test_a_name_that_nobody_knows_yet_is_taken() -> None:
    def unknown(host: str, seconds: float) -> list[str]:
        raise TimeoutError

    assert check_url("https://hooks.example/a?b=c", local=False, resolve=unknown) == "https://hooks.example/a?b=c"
    assert check_url("http://127.0.0.1:8/x", local=True, resolve=unknown) == "http://127.0.0.1:8/x"


@pytest.mark.parametrize("end", ["/hooks/", "/", "", "/hooks/?key=a/"])
def test_an_address_keeps_its_end(end: str) -> None:
    """Receivers that know `/hooks/` redirect `/hooks`, and redirects are not followed."""
    url = f"https://hooks.example{end}"
    assert check_url(url, local=False, resolve=lambda host, seconds: ["10.0.0.1"]) == url


def test_the_socket_of_a_refused_address_is_never_made() -> None:
    make = guarded_socket(local=True)
    with pytest.raises(AddressRefused, match="link-local"):
        make((2, 1, 6, "", ("169.254.169.254", 80)))
    make((2, 1, 6, "", ("10.0.0.1", 80))).close()
