"""Plan: what the load generator is to do, and what it found; both travel as JSON.

Owns:      the two documents, and the bounds of a run.
Called by: generator writes plans and reads outcomes; loader the other way round.
"""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

import orjson

from fastgate.errors import StartError

__all__ = ["MAX_COUNT", "Outcome", "Plan"]

# Reason: eight bytes of latency each, so 64 MiB; a run of minutes at any rate that one
# core can send.
MAX_COUNT: Final = 8_000_000
_MAX_SECONDS: Final = 600.0
_MAX_CONNECTIONS: Final = 20_000


class _Document:
    """Reads and writes a dataclass as JSON."""

    __slots__ = ()

    def encode(self) -> bytes:
        """Return it as one line of JSON."""
        return orjson.dumps(asdict(self))  # type: ignore[call-overload]

    @classmethod
    def decode(cls, text: bytes) -> Self:
        """Read it. Raises StartError: another form."""
        document = orjson.loads(text)
        names = {entry.name for entry in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(document, dict) or set(document) != names:
            raise StartError(f"not a {cls.__name__}")
        return cls(**document)


@dataclass(frozen=True, slots=True)
class Plan(_Document):
    """One run of load on one address.

    rate: Requests a second, sent whatever comes back; 0: as many as are answered (a
        closed loop: it finds a maximum, and says nothing of latency).
    seconds: Length. connections: Open at most, one request at a time on each.
    method, target: Request line. headers: Further lines, without Host.
    body_bytes: Of each request.
    tokens: File with a bearer token a line, used in turn; empty: no Authorization.
    tag: Header that carries each request's number, and must come back with the same;
        empty: the answer is not held against the question.
    statuses: What an answer may be.
    churn: Requests on a connection before it is closed for a new one; 0: never.
    drain_s: Wait for the last answers.
    cpu: Core to stay on; -1: any.
    """

    host: str
    port: int
    rate: float
    seconds: float
    connections: int = 32
    tls: bool = False
    authority: str = "gateway.test"
    method: str = "GET"
    target: str = "/"
    headers: list[str] = field(default_factory=list)
    body_bytes: int = 0
    tokens: str = ""
    tag: str = "X-Bench-Tag"
    statuses: list[int] = field(default_factory=lambda: [200])
    churn: int = 0
    drain_s: float = 5.0
    cpu: int = -1

    def count(self) -> int:
        """Return how many requests are due in all; 0 in a closed loop."""
        return round(self.rate * self.seconds)

    def check(self) -> None:
        """Raise StartError for a run that has no bounds."""
        if not 0 < self.seconds <= _MAX_SECONDS:
            raise StartError(f"seconds: more than 0, at most {_MAX_SECONDS:g}")
        if not 1 <= self.connections <= _MAX_CONNECTIONS:
            raise StartError(f"connections: 1 to {_MAX_CONNECTIONS}")
        if self.rate < 0 or self.count() > MAX_COUNT:
            raise StartError(f"rate x seconds: at most {MAX_COUNT} requests")
        if self.rate and not self.count():
            raise StartError("rate x seconds: less than one request")
        texts = (self.host, self.authority, self.method, self.target, *self.headers)
        if any(not text.isascii() or not text.isprintable() for text in texts):
            raise StartError("a request is made of printable ASCII")


@dataclass(frozen=True, slots=True)
class Outcome(_Document):
    """What a run of load found.

    due: Requests that the rate asked for. answers: Complete ones, whatever they say.
    good: Answers with an expected status and the request's own tag.
    statuses: Count by status. mismatched: Answers with another request's tag.
    errors: Count by what broke. lost: Sent and never answered. unsent: Due, but no
        connection was free until the end.
    latency: HdrHistogram of microseconds from the intended time to the last byte, in
        its own base64 form; lost and unsent requests count as late as the end.
    lag: Likewise, from the intended time until the generator noticed.
    waited: Due requests that found every connection taken.
    cpu_share: Of a core, that the generator used.
    core_share: How busy its core was in all, where it had one; else 0.
    seconds: From the first intended time to the last answer.
    opened: Connections.
    """

    due: int
    answers: int
    good: int
    statuses: dict[str, int]
    mismatched: int
    errors: dict[str, int]
    lost: int
    unsent: int
    latency: str
    lag: str
    waited: int
    cpu_share: float
    core_share: float
    seconds: float
    opened: int

    @property
    def faults(self) -> int:
        """Requests that did not get their own good answer."""
        return max(self.due, self.answers) - self.good

    def summary(self) -> dict[str, Any]:
        """Return the counts without the histograms."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in {"latency", "lag"}
        }
