"""Every fuzz target holds for its own seeds, and sees a fault that is planted."""

import pytest
from tests.fuzz import answers, documents, event_frames, requests
from tests.fuzz.targets import TARGETS

EVERYWHERE = [name for name, target in TARGETS.items() if not target.fuzz_build_only]
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


@pytest.mark.parametrize("name", EVERYWHERE)
def test_target_holds_for_its_seeds(name):
    """What the seeds show, with the release build and without a fuzzer."""
    target = TARGETS[name]
    seeds = [seed for seed in target.seeds() if len(seed) <= target.max_bytes]
    assert len(seeds) > 3
    for seed in seeds:
        target.check(seed)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 1\r\nContent-Length: 1\r\n",
        b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Content-Length: +1\r\n",
        b"X : a\r\n",
        b"X_Y: a\r\n",
        b"X: a\n b\r\n",
        b"Host: b\r\n",
    ],
)
def test_framing_fails_for_heads_that_two_servers_read_differently(fields):
    """The front must never lend such a head; the target would say so."""
    assert requests.framing(HEAD + b"\r\n") == 0
    with pytest.raises(AssertionError):
        requests.framing(HEAD + fields + b"\r\n")


@pytest.mark.parametrize(
    "raw",
    [b"0x1\r\n", b"+1\r\n", b"1 \r\n", b"1\r\nab", b"0\r\nHost: a\r\n\r\n", b"\r\n"],
)
def test_unchunked_fails_for_bodies_that_two_servers_read_differently(raw):
    """Nor such a body."""
    assert requests.unchunked(b"1;a=b\r\nx\r\n0\r\nA: b\r\n\r\n") == (b"x", 21)
    with pytest.raises(AssertionError):
        requests.unchunked(raw)


def test_requests_target_fails_when_the_split_matters(monkeypatch):
    """A front that takes one segment only is found out by the first split."""
    whole = requests.play
    monkeypatch.setattr(requests, "play", lambda segments: whole(list(segments)[:1]))
    with pytest.raises(AssertionError, match="split"):
        requests.check_requests(HEAD + b"\r\n")


def test_answers_target_fails_when_a_head_is_taken_with_another_length(monkeypatch):
    """A reading of its own, of the same head, is what it compares with."""
    monkeypatch.setattr(answers, "read_answer_head", lambda _head, upgrade: (200, 4))
    with pytest.raises(AssertionError):
        answers.check_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")


def test_json_target_fails_when_the_scanners_differ(monkeypatch):
    """The compiled one reads another document here."""
    scan_json = documents.oracle.scan_json
    monkeypatch.setattr(
        documents.oracle, "scan_json", lambda data, names: scan_json(b"{}", names)
    )
    with pytest.raises(AssertionError):
        documents.check_json(b'{"sub":"a"}')


@pytest.mark.parametrize("at", [0, 2, 3, 17, 21, 36, 60])
def test_events_target_fails_when_one_octet_is_read_differently(monkeypatch, at):
    """The compiled reader gets another octet than the slow one, of head or event."""
    (frame, *_) = event_frames.batches()
    event_frames.check_events(frame)
    read_batch = event_frames.read_batch

    def other(data, keys):
        changed = bytes((*data[:at], data[at] ^ 1, *data[at + 1 :]))
        return read_batch(changed, keys)

    monkeypatch.setattr(event_frames, "read_batch", other)
    with pytest.raises(AssertionError):
        event_frames.check_events(frame)
