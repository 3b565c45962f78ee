"""Passive health: who is left out, for how long, and who may try first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.hotpath.upstreams import (
    FAILURES_TO_EJECT,
    FIRST_EJECTION_NS,
    LONGEST_EJECTION_NS,
    PROBE_NS,
    UpstreamHealth,
    may_retry,
)

A, B, C = "http://a", "http://b", "http://c"


def failing(health: UpstreamHealth, base: str, count: int, now_ns: int = 0) -> None:
    for _ in range(count):
        health.failed(base, now_ns)


def test_health_takes_turns_among_healthy_addresses():
    """Each address of a region gets its share."""
    health = UpstreamHealth()
    chosen = [health.choose((A, B, C), (), 0) for _ in range(9)]
    assert sorted(chosen) == sorted([A, B, C] * 3)


def test_health_skips_what_this_request_already_tried():
    """And says None where nothing is left."""
    health = UpstreamHealth()
    assert {health.choose((A, B), {A}, 0) for _ in range(4)} == {B}
    assert health.choose((A, B), {A, B}, 0) is None
    assert health.choose((), (), 0) is None


def test_health_leaves_an_address_out_after_failures_in_a_row():
    """Fewer, or a success between, leave it in."""
    health = UpstreamHealth()
    failing(health, A, FAILURES_TO_EJECT - 1)
    assert health.choose((A,), (), 0) == A
    health.succeeded(A)
    failing(health, A, FAILURES_TO_EJECT - 1)
    assert health.choose((A,), (), 0) == A
    health.failed(A, 0)
    assert health.choose((A,), (), 0) is None
    assert health.ejected(0) == {A}


def test_health_lets_one_probe_through_when_the_time_is_over():
    """The others wait for its outcome; a probe that vanishes frees its turn."""
    health = UpstreamHealth()
    failing(health, A, FAILURES_TO_EJECT)
    later = FIRST_EJECTION_NS
    assert health.choose((A,), (), later) == A
    assert health.choose((A,), (), later) is None
    assert health.choose((A,), (), later + PROBE_NS) == A
    health.succeeded(A)
    assert [health.choose((A,), (), later) for _ in range(3)] == [A, A, A]


def test_health_doubles_the_time_with_each_failed_probe_up_to_a_limit():
    """A dead address costs a request now and then, not each time."""
    health = UpstreamHealth()
    failing(health, A, FAILURES_TO_EJECT)
    now = FIRST_EJECTION_NS
    for _ in range(12):
        assert health.choose((A,), (), now) == A
        health.failed(A, now)
        assert health.choose((A,), (), now + FIRST_EJECTION_NS) is None
        now += LONGEST_EJECTION_NS
    assert health.choose((A,), (), now) == A


def test_health_forgets_addresses_that_are_no_longer_configured():
    """A reload does not let old addresses pile up."""
    health = UpstreamHealth()
    failing(health, A, FAILURES_TO_EJECT)
    failing(health, B, FAILURES_TO_EJECT)
    health.keep_only({B})
    assert health.ejected(0) == {B}
    assert health.choose((A,), (), 0) == A


@given(st.lists(st.tuples(st.sampled_from("fsc"), st.integers(0, 60)), max_size=60))
def test_health_always_comes_back_to_an_address(steps):
    """Whatever happened, after the longest ejection and a probe it is tried again."""
    health = UpstreamHealth()
    now = 0
    for step, seconds in steps:
        now += seconds * 10**9
        if step == "f":
            health.failed(A, now)
        elif step == "s":
            health.succeeded(A)
        else:
            health.choose((A,), (), now)
    assert health.choose((A,), (), now + LONGEST_EJECTION_NS + PROBE_NS) == A


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
def test_retry_is_safe_for_idempotent_methods_only_before_anything_happened(method):
    """One retry, on a connection that had served before, nothing sent or heard."""
    fields = {"body_sent": False, "reused": True, "heard": False, "retried": False}
    assert may_retry(method, **fields)
    for name, value in fields.items():
        assert not may_retry(method, **(fields | {name: not value}))


@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND", "get"])
def test_retry_never_doubles_another_method(method):
    """What an upstream may have acted on is not sent twice (F21)."""
    assert not may_retry(
        method, body_sent=False, reused=True, heard=False, retried=False
    )
