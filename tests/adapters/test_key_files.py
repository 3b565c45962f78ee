"""Key files: whole or not at all, and for this user only."""

import os
import stat

import pytest

from fastgate.adapters.key_files import KeyFiles
from fastgate.errors import ControlError


def mode(path):
    """Return the permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_saved_document_is_loaded_again(tmp_path):
    """What one process saved, the next one finds."""
    KeyFiles(tmp_path).save("login", b"document")
    KeyFiles(tmp_path).save("log.in", b"other")
    assert KeyFiles(tmp_path).load("login") == b"document"
    assert KeyFiles(tmp_path).load("log.in") == b"other"


def test_missing_document_is_none(tmp_path):
    """A first start has nothing."""
    assert KeyFiles(tmp_path).load("login") is None
    assert KeyFiles(tmp_path / "missing").load("login") is None


def test_files_are_for_this_user_only(tmp_path):
    """Mode 0600 in a directory of 0700, whatever the umask and an older file say."""
    before = os.umask(0)
    try:
        files = KeyFiles(tmp_path)
        files.save("login", b"1")
        path = tmp_path / "keys" / "login.json"
        path.chmod(0o666)
        files.save("login", b"2")
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "alias", ["", ".", "..", "../x", "a/b", "a\0b", "a\n", "-a", "é", "a" * 65, "a."]
)
def test_alias_never_leaves_the_directory(tmp_path, alias):
    """The name comes from the configuration; this is the second look at it."""
    files = KeyFiles(tmp_path)
    with pytest.raises(ControlError):
        files.save(alias, b"x")
    with pytest.raises(ControlError):
        files.load(alias)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["open", "fsync", "replace"])
def test_old_document_stays_when_saving_fails(tmp_path, monkeypatch, step):
    """F13: no space, no sync, no rename; and nothing is left lying about."""
    files = KeyFiles(tmp_path)
    files.save("login", b"old")

    def fail(*args, **named):
        raise OSError(28, "No space left on device")

    if step == "replace":
        monkeypatch.setattr("pathlib.Path.replace", fail)
    else:
        monkeypatch.setattr(os, step, fail)
    with pytest.raises(ControlError):
        files.save("login", b"new")
    monkeypatch.undo()
    assert files.load("login") == b"old"
    assert [each.name for each in (tmp_path / "keys").iterdir()] == ["login.json"]


def test_new_document_is_synced_before_it_replaces_the_old(tmp_path, monkeypatch):
    """A crash after the rename must not leave an empty file under the name."""
    steps = []
    replace = type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda _: steps.append("sync"))

    def noted(self, target):
        steps.append("replace")
        return replace(self, target)

    monkeypatch.setattr("pathlib.Path.replace", noted)
    KeyFiles(tmp_path).save("login", b"x")
    assert steps == ["sync", "replace", "sync"]


def test_link_under_the_temporary_name_is_not_followed(tmp_path):
    """A local user must not make us write into another file."""
    files = KeyFiles(tmp_path)
    files.save("login", b"old")
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "keys" / "login.new").symlink_to(victim)
    files.save("login", b"new")
    assert victim.read_bytes() == b"precious"
    assert files.load("login") == b"new"


def test_document_that_cannot_be_read_is_a_control_error(tmp_path):
    """Not none: the operator should know that something lies there."""
    (tmp_path / "keys" / "login.json").mkdir(parents=True)
    with pytest.raises(ControlError, match="cannot be read"):
        KeyFiles(tmp_path).load("login")


def test_document_of_absurd_size_is_a_control_error(tmp_path):
    """It is not ours, and is not read into memory."""
    files = KeyFiles(tmp_path)
    files.save("login", b"x" * ((1 << 20) + 1))
    with pytest.raises(ControlError, match="too large"):
        files.load("login")


def test_boot_id_names_this_boot(tmp_path):
    """Two processes of one boot agree on it."""
    assert KeyFiles(tmp_path).boot_id == KeyFiles(tmp_path).boot_id
    assert len(KeyFiles(tmp_path).boot_id) in {0, 36}
