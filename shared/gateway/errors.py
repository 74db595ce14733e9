"""What can go wrong with the gateway, as one typed error that says what was wrong, where, and whether to try again."""

from shared.vocabulary import GatewayErrorCode


class GatewayError(Exception):
    """A call to the gateway that brought no usable answer.

    `code` names the cause for machines, `detail` for operators: what was wrong, where, and what to do. `detail` never
    holds the key, a prompt, an answer or a piece of an upstream body, so it may be stored and logged. Callers read what
    follows from the code (`shared.vocabulary.text_for_callers`).
    `permanent` says that the same call would fail again. `http_status` is the upstream's status where there was one.
    `retry_after_seconds` is the pause that the upstream asked for. `trips_circuit` says that the gateway as a whole
    seems to be down (connection, time-out, 5xx, HTML page), not this one call. `unreachable` says that no connection
    came about: then nothing of the call can be to blame.
    """

    def __init__(
        self,
        code: GatewayErrorCode,
        detail: str,
        permanent: bool = False,
        http_status: int | None = None,
        retry_after_seconds: float | None = None,
        trips_circuit: bool = False,
        unreachable: bool = False,
    ) -> None:
        # Every field is one of `args`: that is what makes an exception survive pickling.
        super().__init__(code, detail, permanent, http_status, retry_after_seconds, trips_circuit, unreachable)
        self.code: GatewayErrorCode = code
        self.detail = detail
        self.permanent = permanent
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds
        self.trips_circuit = trips_circuit
        self.unreachable = unreachable

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"

    def with_detail(self, detail: str) -> "GatewayError":
        """The same failure, told differently."""
        return GatewayError(
            self.code,
            detail,
            self.permanent,
            self.http_status,
            self.retry_after_seconds,
            self.trips_circuit,
            self.unreachable,
        )
