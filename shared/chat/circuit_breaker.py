"""The circuit breaker of one process: calls that would fail wait, and nobody else does.

Pure: no task, no socket; the clock is passed in. Belongs to one event loop, but `open_circuits` may be read anywhere.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

FAILURES = 5
PROBE_SECONDS = 5.0
SPREAD = 2
"""So many failures must come from others than the worst caller (or model) before all callers (or models) wait."""
AGAIN_SECONDS = 0.2
"""A probe's chat may be another process's before the probe has it; then the next chat's turn comes after this."""
FORGET_SECONDS = 3600.0
"""A circuit without any call for so long is not known to be open any more."""


@dataclass(frozen=True, slots=True)
class CallKey:
    """Whose call it is: what the breaker counts by."""

    chat_id: uuid.UUID
    model: int
    """the model's id at the gateway"""
    subject: str


@dataclass(frozen=True, slots=True)
class CircuitScope:
    """The calls that one circuit stops: of a model, of a caller, of a caller to a model, or all. None: any."""

    model: int | None
    subject: str | None

    def covers(self, other: CircuitScope) -> bool:
        """Whether each call of `other` is a call of this scope."""
        return self.model in (None, other.model) and self.subject in (None, other.subject)


GATEWAY = CircuitScope(None, None)
RATE_LIMITED = "rate_limited"


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """A circuit that stops calls: since when, and why (by the breaker's clock)."""

    scope: CircuitScope
    opened_at: float
    code: str
    failed_at: float
    subjects: tuple[str, ...]
    """callers whose failures opened it: others make better probes"""

    @property
    def is_pause(self) -> bool:
        """Whether it stops calls because the gateway has asked for that, and not because it fails."""
        return self.code == RATE_LIMITED


@dataclass(slots=True)
class _Streak:
    """Failures in a row of one scope."""

    failures: int = 0
    unreachable: int = 0
    chats: Counter[uuid.UUID] = field(default_factory=Counter)
    models: Counter[int] = field(default_factory=Counter)
    subjects: Counter[str] = field(default_factory=Counter)
    code: str = ""
    failed_at: float = 0.0
    opened_at: float | None = None
    probe_at: float = 0.0
    probe_wanted: bool = True

    def count(self, key: CallKey, code: str, *, unreachable: bool, now: float) -> None:
        self.failures += 1
        self.unreachable = self.unreachable + 1 if unreachable else 0
        self.code, self.failed_at = code, now
        self.chats[key.chat_id] += 1
        self.models[key.model] += 1
        self.subjects[key.subject] += 1


class CircuitBreaker:
    """Opens a circuit after `failures` failures in a row, and lets one call through every `probe_seconds` until one
    is answered.

    Four circuits stand in the way of each call, from the widest to the narrowest:

    * all calls: opens when the gateway cannot be reached at all, or when calls of several models and callers fail;
    * the model's calls: opens when calls of several callers fail;
    * the caller's calls: opens when calls to several models, by several chats, fail;
    * the caller's calls to this model: opens when five in a row fail, by one chat or many.

    So a caller whose questions draw errors from a healthy model stops nobody else, and a model that is down stops no
    other model. An answer closes all four. A failure is one of the gateway's (connection, time-out, 5xx, HTML page);
    any other answer, a refusal as well, is a success here. A 429 is neither: it stops all calls for as long as the
    gateway asks, then one call goes first.
    """

    def __init__(
        self,
        *,
        failures: int = FAILURES,
        probe_seconds: float = PROBE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when a circuit has opened or closed, or a probe may be due sooner."""
        self._limit = failures
        self._probe_seconds = probe_seconds
        self._clock = clock
        self._changed = changed
        self._streaks: dict[CircuitScope, _Streak] = {}
        self._last_success: dict[int, float] = {}
        self.open_circuits: tuple[OpenCircuit, ...] = ()
        self.shutting_down = False

    def now(self) -> float:
        """The breaker's clock, in seconds."""
        return self._clock()

    def blocks(self, key: CallKey) -> OpenCircuit | None:
        """The widest open circuit that stops this call; None when it may be made."""
        call = CircuitScope(key.model, key.subject)
        covering = [circuit for circuit in self.open_circuits if circuit.scope.covers(call)]
        return min(covering, key=lambda circuit: _width(circuit.scope), default=None)

    def answered_since(self, model: int, moment: float) -> bool:
        """Whether the model has answered any call after this moment."""
        return self._last_success.get(model, float("-inf")) > moment

    def record_success(self, key: CallKey) -> tuple[CircuitScope, ...]:
        """Note a sign of life; returns the circuits that it closed."""
        self._last_success[key.model] = self._clock()
        closed = []
        for scope in _scopes(key):
            streak = self._streaks.pop(scope, None)
            if streak is not None and streak.opened_at is not None:
                closed.append(scope)
        if closed:
            self._refresh_open()
        return tuple(closed)

    def record_failure(self, key: CallKey, code: str, *, unreachable: bool = False) -> CircuitScope | None:
        """Note a failure; returns the circuit that it opened.

        `unreachable`: no connection came about, so that the question cannot be to blame.
        """
        now = self._clock()
        self._forget(now)
        blocking = self.blocks(key)
        if blocking is not None:
            streak = self._streaks[blocking.scope]
            streak.code, streak.failed_at = code, now
            self._refresh_open(notify=False)
            return None
        for scope in _scopes(key):
            self._streaks.setdefault(scope, _Streak()).count(key, code, unreachable=unreachable, now=now)
        for scope in _scopes(key):
            if self._is_down(scope):
                self._open(scope, now)
                return scope
        return None

    @property
    def is_paused(self) -> bool:
        """Whether all calls are stopped because the gateway has asked for that."""
        return any(circuit.is_pause for circuit in self.open_circuits)

    def pause(self, key: CallKey, seconds: float) -> None:
        """Stop all calls for so long, because the gateway has asked for it.

        Then one call goes first, and its answer lets the others follow.
        """
        now = self._clock()
        streak = self._streaks[GATEWAY] = _Streak(code=RATE_LIMITED, failed_at=now, opened_at=now)
        streak.subjects[key.subject] += 1
        streak.probe_at = now + seconds
        self._refresh_open()

    def acquire(self) -> OpenCircuit | None:
        """Take the turn of a probe that is due: the caller makes one call of that scope, whatever `blocks` says."""
        now = self._clock()
        for circuit in self.open_circuits:
            streak = self._streaks[circuit.scope]
            if streak.probe_wanted and streak.probe_at <= now:
                streak.probe_at = now + self._probe_seconds
                return circuit
        return None

    def release(self, scope: CircuitScope, *, nobody_waits: bool) -> None:
        """Give back the turn of a probe that made no call: another chat may at once, or the next one that comes."""
        streak = self._streaks.get(scope)
        if streak is not None and streak.opened_at is not None:
            streak.probe_at = self._clock() + (0.0 if nobody_waits else AGAIN_SECONDS)
            streak.probe_wanted = not nobody_waits
            self._changed()

    def request_probe(self) -> None:
        """A chat has begun to wait: circuits that had nobody to probe with look again."""
        for circuit in self.open_circuits:
            self._streaks[circuit.scope].probe_wanted = True
        self._changed()

    def seconds_to_probe(self) -> float | None:
        """How long until a probe is due; None when none will be by itself."""
        streaks = [self._streaks[circuit.scope] for circuit in self.open_circuits]
        times = [streak.probe_at - self._clock() for streak in streaks if streak.probe_wanted]
        return max(0.0, min(times)) if times else None

    def shutdown(self) -> None:
        """The process is going: nobody waits here any more."""
        self.shutting_down = True
        self._changed()

    def _is_down(self, scope: CircuitScope) -> bool:
        streak = self._streaks[scope]
        if streak.failures < self._limit:
            return False
        if scope == GATEWAY and streak.unreachable >= self._limit:
            return True
        if scope.subject is None and _spread(streak.subjects) < SPREAD:
            return False
        return scope.model is not None or (_spread(streak.models) >= SPREAD and _spread(streak.chats) >= SPREAD)

    def _open(self, scope: CircuitScope, now: float) -> None:
        streak = self._streaks[scope]
        streak.opened_at, streak.probe_at = now, now + self._probe_seconds
        # What the wider one explains is not held against the narrower ones.
        for narrower in [other for other in self._streaks if scope.covers(other) and other != scope]:
            del self._streaks[narrower]
        self._refresh_open()

    def _forget(self, now: float) -> None:
        stale = [scope for scope, streak in self._streaks.items() if streak.failed_at < now - FORGET_SECONDS]
        for scope in stale:
            del self._streaks[scope]
        if stale:
            self._refresh_open()

    def _refresh_open(self, *, notify: bool = True) -> None:
        self.open_circuits = tuple(
            OpenCircuit(scope, streak.opened_at, streak.code, streak.failed_at, tuple(streak.subjects))
            for scope, streak in self._streaks.items()
            if streak.opened_at is not None
        )
        if notify:
            self._changed()


def _scopes(key: CallKey) -> tuple[CircuitScope, ...]:
    """The circuits of a call, the widest first."""
    return (
        GATEWAY,
        CircuitScope(key.model, None),
        CircuitScope(None, key.subject),
        CircuitScope(key.model, key.subject),
    )


def _width(scope: CircuitScope) -> int:
    return (scope.subject is not None) * 2 + (scope.model is not None)


def _spread(counts: Counter[uuid.UUID] | Counter[int] | Counter[str]) -> int:
    """How many do not come from the one who has most."""
    return counts.total() - max(counts.values(), default=0)
