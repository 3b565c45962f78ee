"""Comparison: the lines of `bench peers`, which gateway does what in each.

Owns:      the list of lines, and the variants of gateways that they need.
Called by: peers.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fastgate_bench.gateways import FASTGATE, Subject
from fastgate_bench.subjects import (
    ENVOY_CACHE,
    ENVOY_JWT,
    ENVOY_PLAIN,
    HAPROXY_JWT,
    HAPROXY_PLAIN,
    NGINX_JWT,
    NGINX_PLAIN,
)

__all__ = ["MEASUREMENTS", "MIB", "SUBJECTS", "Measurement"]

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the comparison.

    name: Of its stage. tokens: `seen` (all of them verified before), `fresh` (each
        once), `none`.
    wrk: Also done by wrk, where that is installed.
    """

    name: str
    subject: Subject
    tokens: str = "seen"
    target: str = "/orders/1"
    body_bytes: int = 0
    wrk: bool = False

    def note(self) -> str:
        """Return what a reader must know."""
        words = [self.subject.lacks or "every check"]
        if self.tokens == "none":
            words = ["open route: no check"]
        if self.subject.access_log:
            words.append("access log on")
        return "; ".join(words)


def _logging(subject: Subject) -> Subject:
    return dataclasses.replace(subject, name=f"{subject.name}-log", access_log=True)


_TWO: Final = dataclasses.replace(FASTGATE, name="fastgate-2-workers", workers=2)

MEASUREMENTS: Final = (
    Measurement("fastgate-public", FASTGATE, "none", "/public/1"),
    Measurement("fastgate-seen", FASTGATE, wrk=True),
    Measurement("fastgate-fresh", FASTGATE, "fresh"),
    Measurement("fastgate-2-workers", _TWO),
    Measurement("haproxy-plain", HAPROXY_PLAIN, wrk=True),
    Measurement("haproxy-jwt", HAPROXY_JWT, wrk=True),
    Measurement("haproxy-jwt-fresh", HAPROXY_JWT, "fresh"),
    Measurement("nginx-plain", NGINX_PLAIN, wrk=True),
    Measurement("nginx-jwt", NGINX_JWT),
    Measurement("envoy-plain", ENVOY_PLAIN),
    Measurement("envoy-jwt", ENVOY_JWT),
    Measurement("envoy-jwt-cache", ENVOY_CACHE, wrk=True),
    Measurement("envoy-jwt-cache-fresh", ENVOY_CACHE, "fresh"),
    Measurement("fastgate-4k", FASTGATE, "seen", "/orders/4k", 4096),
    Measurement("haproxy-plain-4k", HAPROXY_PLAIN, "seen", "/orders/4k", 4096),
    Measurement("fastgate-1m", FASTGATE, "seen", "/orders/1m", MIB),
    Measurement("haproxy-plain-1m", HAPROXY_PLAIN, "seen", "/orders/1m", MIB),
    Measurement("fastgate-seen-log", _logging(FASTGATE)),
    Measurement("haproxy-plain-log", _logging(HAPROXY_PLAIN)),
    Measurement("haproxy-jwt-log", _logging(HAPROXY_JWT)),
    Measurement("nginx-plain-log", _logging(NGINX_PLAIN)),
    Measurement("envoy-jwt-cache-log", _logging(ENVOY_CACHE)),
)
# Every gateway that a line needs, once.
SUBJECTS: Final[Mapping[str, Subject]] = {
    one.subject.name: one.subject for one in MEASUREMENTS
}
