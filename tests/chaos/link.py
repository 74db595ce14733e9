"""A link between two network namespaces that can be cut, slowed and made to lose packets: two TUN devices, one process.

The kernel's own emulation (netem) is not on every machine; this needs `/dev/net/tun` alone. Orders come as lines on
standard input: `heal`, `cut`, `bad LOSS SECONDS` (a share of packets lost, a delay). Linux only, for root.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import selectors
import struct
import sys
import time
from typing import Final

_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN_NO_PI: Final = 0x1001
_CLONE_NEWNET: Final = 0x40000000  # linux/sched.h
MTU: Final = 1500
MAX_WAITING: Final = 10_000
"""Packets on their way; more are lost, as in a full queue of a router."""


def _enter(namespace: str) -> None:
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}")
    finally:
        os.close(descriptor)


def _device(namespace: str, name: str) -> int:
    _enter(namespace)
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN_NO_PI))
    return descriptor


class Link:
    """Carries packets between two devices."""

    def __init__(self, one: int, other: int, *, seed: int) -> None:
        self._ways = {one: other, other: one}
        self._chance = random.Random(seed)
        self._loss = 0.0
        self._delay = 0.0
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._numbers = itertools.count()

    def order(self, line: str) -> None:
        """Take an order. Raises ValueError for one that is none."""
        match line.split():
            case ["heal"]:
                self._loss, self._delay = 0.0, 0.0
            case ["cut"]:
                self._loss = 1.0
            case ["bad", loss, seconds]:
                self._loss, self._delay = float(loss), float(seconds)
            case _:
                raise ValueError(f"no order: {line!r}")

    def take(self, source: int, now: float) -> None:
        """Read what a device has, and let it wait for its time, or lose it."""
        while True:
            try:
                packet = os.read(source, MTU + 100)
            except BlockingIOError:
                return
            if self._chance.random() >= self._loss and len(self._waiting) < MAX_WAITING:
                heapq.heappush(self._waiting, (now + self._delay, next(self._numbers), self._ways[source], packet))

    def send(self, now: float) -> float | None:
        """Write what is due; returns the seconds until the next packet is."""
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, packet = heapq.heappop(self._waiting)
            try:
                os.write(target, packet)
            except OSError:  # the device is down: lost
                continue
        return self._waiting[0][0] - now if self._waiting else None


def main(one: str, other: str) -> None:
    """Carry packets until standard input ends."""
    devices = [_device(namespace, "link0") for namespace in (one, other)]
    link = Link(*devices, seed=1)
    print("ready", flush=True)
    with selectors.DefaultSelector() as selector:
        for descriptor in (*devices, sys.stdin.fileno()):
            selector.register(descriptor, selectors.EVENT_READ)
        pause: float | None = None
        while True:
            for key, _ in selector.select(pause):
                if key.fd != sys.stdin.fileno():
                    link.take(key.fd, time.monotonic())
                    continue
                lines = os.read(key.fd, 4096).decode()
                if not lines:
                    return
                for line in lines.splitlines():
                    link.order(line)
            pause = link.send(time.monotonic())


if __name__ == "__main__":
    main(*sys.argv[1:])
