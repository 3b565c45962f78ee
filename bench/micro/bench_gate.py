"""The gate against its floors: one SHA-256 of the token, and a bare verification.

Run: python -m pytest bench/micro/bench_gate.py -o python_files='bench_*.py'
     -o python_functions='bench_*'
"""

import hashlib
import itertools

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastgate.domain.verdict import Verdict
from fastgate.hotpath.native import ClaimNames, scan
from fastgate_bench.gate_kit import GateKit, head_of
from fastgate_bench.tokens import Issuer

FRESH = 2_000


@pytest.fixture(scope="module")
def kit() -> GateKit:
    return GateKit(Issuer(), cached=2 * FRESH, entries=100_000)


def bench_decide__token_seen_before(benchmark: BenchmarkFixture, kit: GateKit) -> None:
    """The warm path: digest, cache, times, freshness, revocation, scope, region."""
    head = head_of(kit.issuer.token())
    assert kit.decide(head).verdict is Verdict.ALLOW
    benchmark(kit.decide, head)


def bench_decide__token_seen_before__floor(
    benchmark: BenchmarkFixture, kit: GateKit
) -> None:
    """One SHA-256 of issuer profile and token."""
    token = kit.issuer.token().encode()
    benchmark(lambda: hashlib.sha256(kit.profile.digest + token).digest())


def bench_decide__token_never_seen(benchmark: BenchmarkFixture, kit: GateKit) -> None:
    """The cold path, each time with another token."""
    heads = itertools.cycle([head_of(kit.issuer.token()) for _ in range(FRESH)])

    def again() -> tuple[tuple[object], dict[str, object]]:
        return (next(heads),), {}

    benchmark.pedantic(kit.decide, setup=again, rounds=FRESH)


def bench_decide__token_never_seen__floor(
    benchmark: BenchmarkFixture, kit: GateKit
) -> None:
    """A bare verification by the same key."""
    token = kit.issuer.token().encode()
    scanned = scan(token, ClaimNames(region=("region",)))
    signed, signature = token[: scanned.signing_input_end], scanned.signature()
    key = kit.keys.every[0]
    assert benchmark(key.verify, "ES256", signature, signed)


def bench_decide__token_refused_by_its_shape(
    benchmark: BenchmarkFixture, kit: GateKit
) -> None:
    """What a junk token costs: no key, no signature."""
    head = head_of("a.b.c")
    assert kit.decide(head).verdict is Verdict.DENY
    benchmark(kit.decide, head)
