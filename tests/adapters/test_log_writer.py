"""Access and audit logs: never block, never lose silently, never mix lines."""

import json
import os
import select
import stat
import threading
import time
from pathlib import Path

import pytest

from fastgate.adapters.log_writer import AccessLog, AuditLog
from fastgate.errors import BugError, ControlError, StartError

KEY = b"0123456789abcdef"
DEADLINE_S = 20.0
LINE = {
    "peer": "203.0.113.7", "request_id": "01JD", "trace_id": "4bf9", "method": "GET",
    "route": "orders", "proto": "1.1", "status": 200, "bytes_in": 0, "bytes_out": 512,
    "duration_ms": 13.4, "upstream_ms": 12.8, "overhead_us": 412, "lane": "general",
    "region": "us", "region_source": "claim", "gateway_region": "eu", "token": "jwt",
    "verdict": "allow", "reason": None, "kid": "ec-1", "cache": "hit", "age_ms": 80,
}  # fmt: skip


class Drops:
    """Counts dropped lines, and lets a test wait for them."""

    def __init__(self):
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self, lines):
        with self._changed:
            self.count += lines
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, DEADLINE_S)


class Pipe:
    """A sink that a test reads when it likes."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def read_lines(self, count):
        data = b""
        while data.count(b"\n") < count:
            assert select.select([self.reader], [], [], DEADLINE_S)[0], data
            data += os.read(self.reader, 65_536)
        return data.splitlines()

    def close(self):
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


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


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


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


def test_audit_line_is_on_disk_when_append_returns(tmp_path):
    """Who did what, in one line, readable at once by somebody else."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path, wall_s=lambda: 1_795_222_272.984375)
    audit.append("ops", "revoke", {"kind": "sid", "object": "9c1f", "seq": 7})
    assert lines_of(path) == [
        {
            "ts": "2026-11-21T00:51:12.984Z", "msg": "audit", "actor": "ops",
            "action": "revoke", "kind": "sid", "object": "9c1f", "seq": 7,
        }
    ]  # fmt: skip
    audit.close()


def test_audit_append_reaches_the_disk_before_it_returns(tmp_path, monkeypatch):
    """The line is written, then synchronised, then the caller goes on."""
    audit = AuditLog(tmp_path / "audit.jsonl")
    calls = []
    write, fsync = os.write, os.fsync
    monkeypatch.setattr(os, "write", lambda *a: calls.append("write") or write(*a))
    monkeypatch.setattr(os, "fsync", lambda *a: calls.append("fsync") or fsync(*a))
    audit.append("ops", "reload", {})
    assert calls == ["write", "fsync"]
    audit.close()


def test_audit_file_is_private(tmp_path):
    """Mode 0600, whatever the umask or the file's past."""
    path = tmp_path / "audit.jsonl"
    path.touch(0o666)
    path.chmod(0o666)
    AuditLog(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_audit_lines_survive_a_restart(tmp_path):
    """A new process appends."""
    path = tmp_path / "audit.jsonl"
    for actor in ("one", "two"):
        audit = AuditLog(path)
        audit.append(actor, "revoke", {})
        audit.close()
    assert [line["actor"] for line in lines_of(path)] == ["one", "two"]


def test_audit_line_begins_afresh_after_a_torn_one(tmp_path):
    """What a crash left of a line does not swallow the next."""
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'{"ts":"2026')
    audit = AuditLog(path)
    audit.append("ops", "revoke", {})
    audit.close()
    assert json.loads(path.read_bytes().splitlines()[1])["actor"] == "ops"


def test_audit_append_raises_when_the_disk_refuses(tmp_path, monkeypatch):
    """Then the mutation must be refused: nothing is dropped in silence."""
    audit = AuditLog(tmp_path / "audit.jsonl")

    def full(*_):
        raise OSError(28, "No space left on device")

    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, full)
            with pytest.raises(ControlError):
                audit.append("ops", "revoke", {})
    audit.append("ops", "revoke", {})
    audit.close()
    with pytest.raises(ControlError):
        audit.append("ops", "revoke", {})


@pytest.mark.parametrize("kind", ["folder", "link", "fifo", "missing"])
def test_audit_log_refuses_what_is_no_file_of_ours(tmp_path, kind):
    """A link in the state folder leads nowhere."""
    path = tmp_path / "audit.jsonl"
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        (tmp_path / "target").touch()
        path.symlink_to(tmp_path / "target")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = tmp_path / "missing" / "audit.jsonl"
    with pytest.raises(ControlError):
        AuditLog(path)


def test_audit_fields_cannot_take_the_place_of_the_actor(tmp_path):
    """A field named like the line's own is a fault of the caller."""
    audit = AuditLog(tmp_path / "audit.jsonl")
    for name in ("ts", "msg", "actor", "action"):
        with pytest.raises(BugError):
            audit.append("ops", "revoke", {name: "x"})
    with pytest.raises(BugError):
        audit.append("ops", "revoke", {"kind": object()})
    audit.close()


def test_audit_line_is_one_line_for_hostile_text(tmp_path):
    """An actor's name cannot forge a second entry (T19)."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    audit.append('x"}\r\n{"actor":"root', "re\u202evoke", {"reason": "\ud800\x7f\x85"})
    audit.close()
    raw = path.read_bytes()
    assert raw.count(b"\n") == 1
    assert max(raw) < 0x7F
    assert json.loads(raw)["actor"] == 'x"}\r\n{"actor":"root'


def test_audit_reopen_follows_a_moved_file(tmp_path):
    """Rotation keeps both parts; a failed one keeps the old file."""
    path, moved = tmp_path / "audit.jsonl", tmp_path / "audit.jsonl.1"
    audit = AuditLog(path)
    audit.append("one", "revoke", {})
    path.rename(moved)
    audit.reopen()
    audit.append("two", "revoke", {})
    path.unlink()
    path.mkdir()
    with pytest.raises(ControlError):
        audit.reopen()
    audit.append("three", "revoke", {})
    audit.close()
    assert [line["actor"] for line in lines_of(moved)] == ["one"]


def test_audit_lines_of_threads_do_not_mix(tmp_path):
    """Several callers at once give whole lines."""
    path = tmp_path / "audit.jsonl"
    audit = AuditLog(path)
    threads = [
        threading.Thread(
            target=lambda n=n: [audit.append(f"t{n}", "x", {}) for _ in range(20)]
        )
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    audit.close()
    assert len(lines_of(path)) == 80


def wait_until(holds):
    """Yield to the writer thread until a condition holds; False past the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if holds():
            return True
        os.sched_yield()
    return False
