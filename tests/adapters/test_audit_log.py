"""The audit log: every mutation, on disk before its answer."""

import json
import os
import stat
import threading

import pytest
from tests.adapters.log_sinks import DEADLINE_S, lines_of

from fastgate.adapters.log_writer import AuditLog
from fastgate.errors import BugError, ControlError


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
