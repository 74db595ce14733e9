"""Where events may be sent: which addresses are refused, by the numbers behind a name and not by the name."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

from shared import addresses
from shared.connections import look_up
from shared.notices.post import AddressRefused

MAX_URL_CHARS: Final = 2000
LOOK_UP_SECONDS: Final = 3.0

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")  # AWS, Alibaba, Azure, Oracle
)
"""Metadata services of clouds beside 169.254.169.254: they hand out credentials."""
_THIS_NETWORK: Final = ipaddress.ip_network("0.0.0.0/8")
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def refusal_of(address: str, *, local: bool) -> str | None:
    """Why nothing is sent to an IP address; None where it may be. `local`: loopback is allowed.

    Private ranges are allowed: services live there, and only service_role registers endpoints.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "is no IP address"
    for each in (ip, *_embedded(ip)):
        why = _refusal(each, local=local)
        if why is not None:
            return why
    return None


def _refusal(ip: _Address, *, local: bool) -> str | None:
    if ip.is_loopback:
        return None if local else "is loopback: only local mode sends there"
    if ip.is_link_local:
        return "is link-local"
    if ip in _METADATA:
        return "is a metadata service of a cloud"
    if ip.is_unspecified or (ip.version == 4 and ip in _THIS_NETWORK):
        return "is unspecified"
    if ip.is_multicast:
        return "is multicast"
    # Python counts ::/8, and with it embedded addresses, as reserved: those are looked at by themselves.
    if ip.is_reserved and ip.version == 4:
        return "is reserved"
    return None


def _embedded(ip: _Address) -> list[_Address]:
    """The IPv4 addresses that an IPv6 address leads to: mapped, compatible, NAT64, 6to4, Teredo."""
    if not isinstance(ip, ipaddress.IPv6Address) or ip.is_loopback or ip.is_unspecified:
        return []
    inside: list[_Address | None] = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _NAT64 or int(ip) >> 32 == 0:
        inside.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [each for each in inside if each is not None]


def check_url(url: str, *, local: bool, resolve: Callable[[str, float], list[str]] = look_up) -> str:
    """An address as it is stored. Raises ValueError that says what is wrong with it.

    A name is looked up; one that is not known here yet is taken: each connection is checked again.
    """
    if len(url) > MAX_URL_CHARS:
        raise ValueError(f"may hold {MAX_URL_CHARS} characters at most")
    text = addresses.web_address(url)
    if "#" in text:
        raise ValueError("must hold no #: what follows it is never sent; # itself is written %23")
    parts = urlsplit(text)
    if parts.scheme != "https" and not local:
        raise ValueError("must begin with https://: production sends nothing in plain text")
    host = parts.hostname or ""
    try:
        numbers = [str(ipaddress.ip_address(host.partition("%")[0]))]
    except ValueError:
        try:
            numbers = resolve(host, LOOK_UP_SECONDS)
        except (OSError, TimeoutError):
            numbers = []
    for number in numbers:
        if (why := refusal_of(number, local=local)) is not None:
            raise ValueError(f"its host leads to {number}, which {why}")
    return text


def guarded_socket(*, local: bool) -> Callable[[Any], socket.socket]:
    """Makes the sockets of connections: aiohttp calls it with the very address that it connects to.

    A name that has changed its address since it was registered, or between two look-ups, gets nowhere.
    """

    def make(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = info
        why = refusal_of(str(place[0]), local=local)
        if why is not None:
            raise AddressRefused(f"nothing was sent: the address of its host {why}")
        return socket.socket(family, kind, protocol)

    return make
