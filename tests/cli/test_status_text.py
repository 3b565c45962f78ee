"""The lines of `fastgate status`: what is there is told, what is wrong stands out."""

import pytest

from fastgate.cli.status_text import status_lines

LIST = {
    "issuer": "login",
    "uri": "https://lists.example.com/1",
    "fresh_s": 9.6,
    "age_s": 3.0,
    "next_s": 5.2,
    "error": None,
}
STREAM = {
    "issuer": "login",
    "stream": "s-1",
    "state": "enabled",
    "heard_s": 12.4,
    "verified_s": None,
    "max_silence_s": 60.0,
    "events": {},
}


def told(**status):
    return list(status_lines(status))


def test_gateway_without_ways_in_has_no_line_about_them():
    nothing = {"ways": {}, "streams": [], "polls": []}
    feed = {"origins": [{"origin": "eu", "adopted_by": None}]}
    urgent = {"said": 0, "unsaid": 0, "heard": {"applied": 0}, "rejected": {}}
    assert told() == []
    assert told(intake=nothing, status_lists=[], feed=feed | {"urgent": urgent}) == []


def test_ways_in_are_counted_by_result():
    ways = {"logout": {"repeated": 1, "revoked": 2}, "push": {"refused": 3}}
    text = "ways in: logout 1 repeated, 2 revoked; push 3 refused"
    assert told(intake={"ways": ways}) == [(text, "")]


@pytest.mark.parametrize(
    ("changes", "text", "bad"),
    [
        ({}, "enabled, heard 12 s ago, verified never", False),
        ({"state": "paused"}, "paused, heard 12 s ago, verified never", True),
        ({"heard_s": 61.0}, "enabled, heard 61 s ago, verified never", True),
        (
            {"heard_s": 61.0, "max_silence_s": None, "verified_s": 2.0},
            "enabled, heard 61 s ago, verified 2 s ago",
            False,
        ),
        ({"heard_s": None}, "enabled, heard never, verified never", False),
    ],
    ids=["well", "paused", "mute", "no-limit", "never"],
)
def test_stream_says_when_it_was_heard(changes, text, bad):
    ((line, style),) = told(intake={"streams": [STREAM | changes]})
    assert line == f"stream of login: {text}"
    assert bool(style) is bad


def test_poll_says_what_is_wrong_with_it():
    well = {"issuer": "login", "answered_s": 0.4, "error": None}
    bad = {"issuer": "other", "answered_s": None, "error": "status_401"}
    (first, second) = told(intake={"polls": [well, bad]})
    assert first == ("poll of login: answered 0 s ago", "")
    assert second[0] == "poll of other: answered never, now status_401"
    assert second[1]


@pytest.mark.parametrize(
    ("changes", "text", "bad"),
    [
        ({}, "holds for 10 s, fetched 3 s ago, next in 5 s", False),
        (
            {"error": "status_500"},
            "holds for 10 s, fetched 3 s ago, next in 5 s, last status_500",
            True,
        ),
        (
            {"fresh_s": 0.0, "age_s": None, "error": "timed_out"},
            "stale, fetched never, next in 5 s, last timed_out",
            True,
        ),
    ],
    ids=["well", "failing", "stale"],
)
def test_status_list_says_for_how_long_it_holds(changes, text, bad):
    ((line, style),) = told(status_lists=[LIST | changes])
    assert line == f"status list of login https://lists.example.com/1: {text}"
    assert bool(style) is bad


def test_adopted_region_is_named_with_who_speaks_for_it():
    origins = [{"origin": "ap", "adopted_by": "eu"}, {"origin": "eu"}]
    ((line, style),) = told(feed={"origins": origins})
    assert line == "adopted: eu speaks for ap"
    assert style


def test_urgent_path_tells_what_it_said_and_heard():
    heard = {"applied": 3, "repeated": 1, "late": 0}
    urgent = {"said": 2, "unsaid": 0, "heard": heard}
    text = "urgent: 2 said, heard 3 applied, 1 repeated"
    assert told(feed={"urgent": urgent}) == [(text, "")]
    ((line, style),) = told(feed={"urgent": {"said": 0, "unsaid": 4, "heard": {}}})
    assert line == "urgent: 0 said, 4 not said"
    assert style


def test_canaries_tell_their_window_by_origin():
    window = {"p50_ms": 1.24, "p99_ms": 8.96, "missed": 1}
    origins = {"eu": window, "us": {"p50_ms": None, "p99_ms": None}}
    ((line, _),) = told(feed={"canaries": {"origins": origins}})
    said = "eu 1.2 / 9.0 ms, 1 not refused, us never"
    assert line == f"canaries refused after, p50 / p99: {said}"
