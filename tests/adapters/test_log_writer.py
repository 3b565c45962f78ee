"""The access log: one line a request, and never a request that waits for it."""

import json
import os
import select
from pathlib import Path

import pytest
from tests.adapters.log_sinks import (
    DEADLINE_S,
    KEY,
    LINE,
    Drops,
    Pipe,
    lines_of,
    wait_until,
)

from fastgate.adapters.log_writer import AccessLog
from fastgate.errors import StartError


@pytest.fixture
def drops():
    return Drops()


@pytest.fixture
def pipe():
    made = Pipe()
    yield made
    made.close()


@pytest.fixture
def log_to(drops):
    made = []

    def make(**options):
        made.append(AccessLog(drops, **{"peer_key": KEY, **options}))
        return made[-1]

    yield make
    for log in made:
        log.close(DEADLINE_S)


@pytest.fixture
def naughty():
    """The big list of naughty strings; absent only where nobody insists on it."""
    folder = os.environ.get("FASTGATE_VECTORS")
    if folder is None:
        if os.environ.get("FASTGATE_VECTORS_REQUIRED") == "1":
            pytest.fail("FASTGATE_VECTORS is not set")
        pytest.skip("FASTGATE_VECTORS names no folder of third-party vectors")
    return json.loads((Path(folder) / "blns" / "blns.json").read_text())


def test_access_line_has_the_agreed_fields(log_to, pipe):
    """Every field as given, the time in UTC, the peer as a keyed hash."""
    log_to(descriptor=pipe.writer, wall_s=lambda: 1_795_222_272.984375).write(LINE)
    line = json.loads(pipe.read_lines(1)[0])
    assert line.pop("ts") == "2026-11-21T00:51:12.984Z"
    assert line.pop("msg") == "access"
    peer = line.pop("peer")
    assert peer.startswith("h:")
    assert len(peer) == 8
    assert line == {name: LINE[name] for name in LINE if name != "peer"}


def test_access_line_of_a_form_says_what_a_whole_one_says(log_to, pipe):
    """Most of it spelled once, the rest per line: the same members and values."""
    log = log_to(descriptor=pipe.writer, wall_s=lambda: 1_795_222_272.984375)
    own = {name: LINE[name] for name in ("request_id", "bytes_in", "duration_ms")}
    shared = {
        name: LINE[name] for name in LINE if name not in own and name != "peer"
    } | {"kid": "naïve\n\u202e"}
    log.write({**LINE, **shared})
    members = json.dumps(own)[1:-1].encode() + b","
    log.write_formed(log.form(shared), LINE["peer"], LINE["status"], members)
    whole, formed = pipe.read_lines(2)
    assert json.loads(formed) == json.loads(whole)
    assert formed.isascii()


def test_access_line_of_a_form_is_sampled_and_dropped_as_others_are(
    log_to, drops, pipe
):
    """Errors are always kept; what finds no room is counted."""
    log = log_to(descriptor=pipe.writer, sample=0.5, chance=lambda: 0.9)
    form = log.form({"status": 200})
    log.write_formed(form, "", 200, b"")
    log.write_formed(log.form({"status": 503}), "", 503, b"")
    assert json.loads(pipe.read_lines(1)[0])["status"] == 503
    log_to(descriptor=pipe.writer, ring_lines=0).write_formed(form, "", 200, b"")
    assert drops.count == 1


def test_access_line_never_holds_the_address(log_to, pipe):
    """The hash depends on the key, and is the same for the same peer."""
    first = log_to(descriptor=pipe.writer)
    first.write(LINE)
    first.write(LINE)
    assert first.close(DEADLINE_S)
    log_to(descriptor=pipe.writer, peer_key=b"another key here").write(LINE)
    raw = pipe.read_lines(3)
    assert all(b"203.0.113" not in line for line in raw)
    peers = [json.loads(line)["peer"] for line in raw]
    assert peers[0] == peers[1] != peers[2]


def test_access_line_stands_with_next_to_nothing_known(log_to, pipe):
    """A request that failed before it had a method is a line as well."""
    log = log_to(descriptor=pipe.writer)
    log.write({})
    log.write({"status": 400})
    first, second = (json.loads(line) for line in pipe.read_lines(2))
    assert first.keys() == {"ts", "msg", "peer"}
    assert second["status"] == 400


def test_access_line_leaves_out_what_was_not_agreed(log_to, pipe):
    """A subject, path or token given by mistake is not written."""
    log_to(descriptor=pipe.writer).write({**LINE, "sub": "alice", "path": "/?t=s3cret"})
    raw = pipe.read_lines(1)[0]
    assert b"alice" not in raw
    assert b"s3cret" not in raw


def test_access_log_keeps_one_line_a_request_for_naughty_strings(
    log_to, tmp_path, naughty
):
    """Big list of naughty strings x every text field: each line parses (T19)."""
    names = [name for name, value in LINE.items() if isinstance(value, str)]
    path = tmp_path / "access.log"
    log = log_to(path=path, ring_lines=100_000)
    for text in naughty:
        for name in names:
            log.write({**LINE, name: text})
    assert log.close(DEADLINE_S)
    raw = path.read_bytes()
    assert max(raw) < 0x7F
    assert len(raw.splitlines()) == raw.count(b"\n") == len(naughty) * len(names)
    written = lines_of(path)
    assert all(line["status"] == 200 for line in written)
    shortest = [text for text in naughty if len(text) <= 8]
    methods = {line["method"] for line in written}
    assert methods.issuperset(shortest)


def test_access_log_writes_lines_in_order(log_to, tmp_path):
    """Thousands of lines arrive whole, once and in order."""
    path = tmp_path / "access.log"
    log = log_to(path=path, ring_lines=10_000)
    for n in range(5_000):
        log.write({**LINE, "age_ms": n})
    assert log.close(DEADLINE_S)
    assert [line["age_ms"] for line in lines_of(path)] == list(range(5_000))


def test_access_log_drops_and_counts_when_the_sink_blocks(log_to, drops, pipe):
    """A reader that stopped costs lines, not requests; what was queued still comes."""
    log = log_to(descriptor=pipe.writer, ring_lines=100)
    written = 2_000
    for n in range(written):
        log.write({**LINE, "age_ms": n})
    # The pipe holds 64 KiB, the ring 100 lines: the rest must have been dropped.
    assert drops.count > 0
    kept = [json.loads(line) for line in pipe.read_lines(written - drops.count)]
    ages = [line["age_ms"] for line in kept]
    assert ages == sorted(ages)
    log.write({**LINE, "age_ms": -7})
    assert json.loads(pipe.read_lines(1)[-1])["age_ms"] == -7
    assert len(kept) + drops.count == written


def test_access_log_drops_and_counts_when_a_nonblocking_sink_is_full(
    log_to, drops, pipe
):
    """A standard output that somebody made non-blocking loses no half line."""
    os.set_blocking(pipe.writer, False)
    log = log_to(descriptor=pipe.writer, ring_lines=50)
    for n in range(2_000):
        log.write({**LINE, "age_ms": n})
    kept = pipe.read_lines(2_000 - drops.count)
    assert all(json.loads(line) for line in kept)


def test_access_log_close_gives_up_on_a_blocked_sink_and_counts(drops, pipe):
    """Ending does not hang on a reader that stopped."""
    os.set_blocking(pipe.writer, False)
    log = AccessLog(drops, peer_key=KEY, descriptor=pipe.writer, ring_lines=1_000)
    for _ in range(1_000):
        log.write(LINE)
    assert log.close(0.3) is False
    assert drops.count > 0
    before = drops.count
    log.write(LINE)
    assert drops.count == before + 1


def test_access_log_counts_lines_that_a_closed_reader_lost(log_to, drops, pipe):
    """A broken pipe is counted, and the thread lives on."""
    os.close(pipe.reader)
    pipe.reader = -1
    log = log_to(descriptor=pipe.writer)
    log.write(LINE)
    drops.wait_for(1)
    log.write(LINE)
    drops.wait_for(2)


def test_access_log_counts_lines_that_a_full_disk_lost(log_to, drops):
    """ENOSPC drops and counts."""
    with Path("/dev/full").open("wb", buffering=0) as full:
        log = log_to(descriptor=full.fileno())
        log.write(LINE)
        drops.wait_for(1)
        assert log.close(DEADLINE_S) is True


def test_access_log_writes_no_more_at_once_than_a_pipe_keeps_whole(
    log_to, pipe, monkeypatch
):
    """Lines of several workers on one pipe never mix: writes are at most PIPE_BUF."""
    log = log_to(descriptor=pipe.writer, ring_lines=10_000)
    writes = []
    write = os.write

    def watched(descriptor, data):
        writes.append(bytes(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", watched)
    for _ in range(100):
        log.write({**LINE, "method": "\x7f" * 5_000})
    pipe.read_lines(100)
    assert all(len(data) <= select.PIPE_BUF for data in writes)
    assert all(data.endswith(b"\n") for data in writes)


def test_access_log_reopen_follows_a_moved_file(log_to, tmp_path):
    """After rotation new lines are in the new file and none is lost."""
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    log = log_to(path=path)
    log.write({**LINE, "age_ms": 1})
    assert wait_until(lambda: path.stat().st_size > 0)
    path.rename(moved)
    log.reopen()
    assert wait_until(path.exists)
    log.write({**LINE, "age_ms": 2})
    assert log.close(DEADLINE_S)
    assert [line["age_ms"] for line in lines_of(moved)] == [1]
    assert [line["age_ms"] for line in lines_of(path)] == [2]


def test_access_log_keeps_the_old_file_when_reopening_fails(log_to, tmp_path):
    """A rotation gone wrong loses no line."""
    path, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    log = log_to(path=path)
    log.write({**LINE, "age_ms": 1})
    assert wait_until(lambda: path.stat().st_size > 0)
    path.rename(moved)
    path.mkdir()
    log.reopen()
    log.write({**LINE, "age_ms": 2})
    assert log.close(DEADLINE_S)
    assert [line["age_ms"] for line in lines_of(moved)] == [1, 2]


def test_access_log_refuses_to_start_without_its_file(tmp_path):
    """A log that cannot be written is found at start."""
    with pytest.raises(StartError):
        AccessLog(print, peer_key=KEY, path=tmp_path / "missing" / "access.log")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StartError):
        AccessLog(print, peer_key=KEY, path=tmp_path / "fifo")


@pytest.mark.parametrize("key", [b"", b"short", bytes(65)])
def test_access_log_refuses_a_weak_peer_key(key):
    """A hash that anybody can compute names the address."""
    with pytest.raises(ValueError, match="peer key"):
        AccessLog(print, peer_key=key)


@pytest.mark.parametrize(
    ("status", "draw", "kept"),
    [(200, 0.09, True), (200, 0.1, False), (399, 0.9, False), (400, 0.9, True),
     (503, 0.99, True)],
)  # fmt: skip
def test_access_log_sampling_keeps_every_error(log_to, tmp_path, status, draw, kept):
    """A share of the good requests, and each bad one."""
    path = tmp_path / "access.log"
    log = log_to(path=path, sample=0.1, chance=lambda: draw)
    log.write({**LINE, "status": status})
    assert log.close(DEADLINE_S)
    assert len(lines_of(path)) == kept


def test_access_log_forgets_peers_rather_than_grow(log_to, pipe):
    """A million addresses leave a bounded memory of hashes."""
    log = log_to(descriptor=pipe.writer, sample=1.0, ring_lines=1)
    for n in range(10_000):
        log._hash_peer(f"2001:db8::{n:x}")
    assert len(log._peers) <= 4_096
