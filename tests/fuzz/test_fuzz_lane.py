"""The lane target: its seeds pass, its steps do what they say, its rules can fail."""

import random

import pytest
from tests.fuzz.lane import STEP, check_lane, play
from tests.fuzz.lane_rules import answers_of, attempts_of
from tests.fuzz.lane_seeds import SCRIPTS
from tests.fuzz.lane_steps import mutate
from tests.fuzz.wires import Wire

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SIGNED = b"GET /private/ HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n\r\n"
TWO = STEP.join((b"C" + GET, b"U" + OK, b"C" + POST, b"U" + OK))


def statuses(traffic):
    return [said.status for said in answers_of(traffic.clients["127.0.0.1"])]


def test_steps_of_two_requests_use_one_connection_and_get_two_answers():
    """The wires carry what the steps say, through the compiled lane."""
    traffic = play(TWO)
    (wire,) = traffic.loop.wires
    sent = [attempt.said for attempt in attempts_of(wire)]
    assert [(said.method, said.content) for said in sent] == [
        (b"GET", b""),
        (b"POST", b"hi"),
    ]
    assert statuses(traffic) == [200, 200]
    assert [line["lane"] for line in traffic.lines] == ["compiled"] * 2


@pytest.mark.parametrize(
    ("steps", "expected", "dialed"),
    [
        ((b"C" + GET.replace(b"/a", b"/private/"),), [401], 0),
        ((b"C" + SIGNED, b"U" + OK), [200], 1),
        ((b"C" + SIGNED.replace(b"{", b"x{"), b"U" + OK), [401], 0),
        ((b"H", b"C" + SIGNED, b"t-", b"S", b"S", b"U" + OK), [200], 2),
        ((b"C" + GET.replace(b"Host", b"Host "),), [400], 0),
        ((b"C" + GET, b"E"), [502], 1),
        ((b"C" + GET, b"R"), [502], 1),
        ((b"C" + GET, b"Unonsense\r\n\r\n"), [502], 1),
        ((b"C" + GET, b"t"), [504], 1),
        ((b"CGET / HT", b"t"), [408], 0),
        ((b"H", b"C" + GET, b"F"), [502], 0),
        ((b"H", b"C" + GET.replace(b"/a", b"/two/"), b"F", b"S", b"U" + OK), [200], 1),
        ((b"C" + GET, b"U" + OK, b"E", b"C" + GET, b"U" + OK), [200, 200], 2),
        ((b"CGET /a HTTP/1.0\r\n\r\n", b"U" + OK), [200], 1),
        ((b"C" + GET, b"e"), [], 1),
        ((b"C" + GET, b"g", b"U" + OK, b"C" + GET), [200], 1),
    ],
)
def test_steps_lead_to_the_answers_that_they_are_for(steps, expected, dialed):
    """So that the fuzzer gets to every way in which an exchange ends."""
    traffic = play(STEP.join(steps))
    assert statuses(traffic) == expected
    assert len(traffic.loop.wires) == dialed
    check_lane(STEP.join(steps))


@pytest.mark.parametrize(
    ("end", "change", "fault"),
    [
        ("up", lambda data: data + data, "asked again|written after"),
        ("up", lambda data: data.replace(b" /a ", b" /c "), "no client asked for"),
        ("up", lambda data: data.replace(b"\r\n\r\nhi", b"\r\n\r\nha"), "no client"),
        ("up", lambda data: data.replace(b"Host: a", b"Host: b"), "no client"),
        ("up", lambda data: data.replace(b"Host:", b"Host :"), "strict subset"),
        ("up", lambda data: data.replace(b"Via", b"Remote-User"), "came through"),
        ("up", lambda data: data.replace(b"Hops: 1", b"Hops: 0"), "a client wrote"),
        ("client", lambda data: data + data, "two answers|more answers"),
        ("client", lambda data: data.replace(b"ok", b"no"), "from nowhere"),
        ("client", lambda data: data.replace(b"200 OK", b"206 OK"), "from nowhere"),
        ("client", lambda data: b"", "0 of 2 answers"),
        ("client", lambda data: data.replace(b"\r\nX-Req", b"\r\nX-Rep"), "an id"),
    ],
    ids=[
        *("twice", "target", "body", "host", "blank", "identity", "hops"),
        *("two_answers", "other_body", "other_status", "no_answer", "no_id"),
    ],
)
def test_lane_target_fails_when_bytes_are_changed(monkeypatch, end, change, fault):
    """Each rule sees the fault that it is there for, planted behind a good lane."""
    check_lane(TWO)
    write = Wire.write

    def tamper(wire, data):
        write(wire, change(bytes(data)) if wire.name.startswith(end) else data)

    monkeypatch.setattr(Wire, "write", tamper)
    with pytest.raises(AssertionError, match=fault):
        check_lane(TWO)


def test_lane_target_fails_when_a_named_field_comes_through(monkeypatch):
    """What Connection names ends at the gateway (T9)."""
    came = b"C" + GET.replace(
        b"a\r\n\r\n", b"a\r\nConnection: x-a, b\r\nX-A: 1\r\n\r\n"
    )
    check_lane(came)
    write = Wire.write

    def tamper(wire, data):
        write(wire, bytes(data).replace(b"\r\nVia", b"\r\nX-A: 1\r\nVia"))

    monkeypatch.setattr(Wire, "write", tamper)
    with pytest.raises(AssertionError, match="no client"):
        check_lane(came)


@pytest.mark.parametrize("name", [b"Subject", b"Region", b"Scope"])
def test_lane_target_fails_when_an_identity_is_changed(monkeypatch, name):
    """What a verified token says reaches the upstream as it is, and once."""
    check_lane(STEP.join((b"C" + SIGNED, b"U" + OK)))
    write = Wire.write

    def tamper(wire, data):
        line = b"X-Fastgate-" + name + b": x\r\nHost"
        write(wire, bytes(data).replace(b"Host", line, 1))

    monkeypatch.setattr(Wire, "write", tamper)
    with pytest.raises(AssertionError, match=r"came through|two fields|twice"):
        check_lane(STEP.join((b"C" + SIGNED, b"U" + OK)))


def test_lane_target_fails_when_a_left_over_is_kept(monkeypatch):
    """An answer nobody asked for must never be the next client's (T24)."""
    came = STEP.join((b"C" + GET, b"U" + OK, b"C" + GET, b"U" + OK))
    check_lane(came)
    feed = Wire.feed

    def early(wire, item):
        # As if the second answer had come before the second request was sent.
        feed(wire, item)
        if wire.name.startswith("up") and isinstance(item, bytes):
            wire.came += b"HTTP/1.1 200 OK\r\n"

    monkeypatch.setattr(Wire, "feed", early)
    with pytest.raises(AssertionError, match="left-over"):
        check_lane(came)


def test_lane_target_fails_when_a_call_of_the_loop_raises(monkeypatch):
    """Real loops log it and drop the connection."""
    monkeypatch.setattr("tests.fuzz.lane.Revocations.check", None)
    play(TWO)

    def broken(*_: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr("tests.fakes.FakeClock.wall_s", broken)
    with pytest.raises(AssertionError, match="planted"):
        check_lane(TWO)


def test_lane_target_fails_when_something_is_written_after_the_end(monkeypatch):
    """Whoever has closed a connection writes no more on it."""
    script = b"C" + GET.replace(b"Host", b"Host ")
    check_lane(script)
    abort, close, end = Wire.abort, Wire.close, Wire.write_eof

    def late(leave):
        def left(wire):
            leave(wire)
            if wire.name.startswith("client"):
                wire.write(b"late")

        return left

    for name, leave in (("abort", abort), ("close", close), ("write_eof", end)):
        monkeypatch.setattr(Wire, name, late(leave))
    with pytest.raises(AssertionError, match="after its end"):
        check_lane(script)


def test_answer_without_a_length_is_whole_only_where_the_gateway_ended_it():
    """A client that goes is told nothing by the end that it made itself."""
    old = b"CGET /a HTTP/1.0\r\n\r\n"
    begun = b"UHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    for more, whole in ((b"U0\r\n\r\n", True), (b"e", False), (b"E", False)):
        script = STEP.join((old, begun, more))
        check_lane(script)
        (said,) = answers_of(play(script).clients["127.0.0.1"])
        assert said.whole == whole


def test_bytes_for_a_peer_that_is_gone_go_nowhere():
    """As with real loops, until the lane is told; then it writes no more."""
    script = STEP.join((b"C" + GET, b"r", b"+U" + OK))
    check_lane(script)
    assert statuses(play(script)) == []


def test_mutator_makes_scripts_that_hold_and_repeats_itself():
    """Some hundred scripts near the known ones, the same ones each time."""
    chosen = random.Random(1)
    made = [mutate(STEP.join(chosen.choice(SCRIPTS)), chosen) for _ in range(300)]
    chosen = random.Random(1)
    assert made == [
        mutate(STEP.join(chosen.choice(SCRIPTS)), chosen) for _ in range(300)
    ]
    assert len(set(made)) > 250
    for script in made:
        check_lane(script)
