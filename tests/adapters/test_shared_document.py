"""The shared document: versions grow, and no reader sees half a document."""

import mmap
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.adapters.shared_document import SharedDocument
from fastgate.errors import BugError, ControlError

OLD, NEW = b"old document", b"a newer document, longer than the old one"


class Killed(BaseException):
    """Stands for SIGKILL: nothing of the writer runs after it."""


class MortalDocument(SharedDocument):
    """A writer that is killed after a number of written bytes."""

    bytes_left = 1 << 30

    def _put(self, at: int, data: bytes) -> None:
        part = data[: self.bytes_left]
        self.bytes_left -= len(part)
        super()._put(at, part)
        if len(part) < len(data):
            raise Killed


def segment(size_bytes: int = 4096) -> bytearray:
    return bytearray(size_bytes)


def test_document_is_read_back_with_its_version_when_published():
    """A reader gets the bytes and the version that publishing returned."""
    view = segment()
    writer = SharedDocument(view, writable=True)
    reader = SharedDocument(view, writable=False)
    assert reader.read() is None
    assert reader.version() == 0
    for number, document in enumerate((OLD, NEW, b""), start=1):
        assert writer.publish(document) == number
        assert reader.version() == number
        assert reader.read() == (number, document)


def test_document_works_over_a_read_only_map():
    """Workers hold read-only maps: reading writes nothing."""
    with mmap.mmap(-1, 8192) as view:
        SharedDocument(view, writable=True).publish(OLD)
        assert SharedDocument(view, writable=False).read() == (1, OLD)


def test_document_stays_when_the_next_is_too_large():
    """A document that does not fit is refused and the previous one goes on."""
    view = segment()
    writer = SharedDocument(view, writable=True)
    assert writer.publish(b"x" * writer.capacity_bytes) == 1
    with pytest.raises(ControlError):
        writer.publish(b"x" * (writer.capacity_bytes + 1))
    assert writer.publish(OLD) == 2
    assert SharedDocument(view, writable=False).read() == (2, OLD)


def test_reader_publishes_nothing():
    """Only the one writer may publish; a reader that tries is our own mistake."""
    view = segment()
    SharedDocument(view, writable=True).publish(OLD)
    with pytest.raises(BugError):
        SharedDocument(view, writable=False).publish(NEW)
    assert SharedDocument(view, writable=False).read() == (1, OLD)


def test_document_refuses_a_segment_without_room():
    """A segment that cannot hold two halves is a mistake in wiring."""
    with pytest.raises(BugError):
        SharedDocument(segment(256), writable=True)


@pytest.mark.parametrize("before", [0, 1, 2, 254, 255, 256])
def test_reader_finds_a_whole_document_when_the_writer_dies_at_any_byte(before):
    """Killed at byte n, a writer leaves the old or the new document, never a mix."""
    seen: set[tuple[int, bytes] | None] = set()
    budget = 0
    while True:
        view = segment()
        writer = MortalDocument(view, writable=True)
        for _ in range(before):
            writer.publish(OLD)
        writer.bytes_left = budget
        try:
            writer.publish(NEW)
        except Killed:
            alive = False
        else:
            alive = True
        found = SharedDocument(view, writable=False).read()
        seen.add(found)
        # The successor goes on above everything a reader may have seen.
        successor = SharedDocument(view, writable=True)
        assert successor.version() == (found[0] if found else 0)
        version = successor.publish(b"successor")
        assert SharedDocument(view, writable=False).read() == (version, b"successor")
        assert version > (found[0] if found else 0)
        if alive:
            break
        budget += 1
    assert seen == {(before, OLD) if before else None, (before + 1, NEW)}


def test_reader_falls_back_when_the_current_document_is_damaged():
    """Bytes that do not match their digest are not handed out."""
    view = segment()
    writer = SharedDocument(view, writable=True)
    writer.publish(OLD)
    writer.publish(NEW)
    at = view.index(NEW)
    view[at] ^= 1
    assert SharedDocument(view, writable=False).read() == (1, OLD)


@given(noise=st.binary(min_size=300, max_size=300), at=st.integers(0, 299))
def test_reader_survives_hostile_memory(noise: bytes, at: int):
    """Whatever the words say, a reader stays inside and raises nothing."""
    view = segment(600)
    SharedDocument(view, writable=True).publish(OLD)
    view[at : at + 300] = noise
    found: Any = SharedDocument(view, writable=False).read()
    assert found is None or found == (1, OLD)


class OvertakenDocument(SharedDocument):
    """A reader whose writer publishes between each look at the version and the copy."""

    def __init__(self, view: bytearray, writer: SharedDocument) -> None:
        super().__init__(view, writable=False)
        self.writer = writer
        self.laps = 0

    def version(self) -> int:
        found = super().version()
        if self.laps:
            self.laps -= 1
            self.writer.publish(b"lap 1 %d" % self.laps)
            self.writer.publish(b"lap 2 %d" % self.laps)
        return found


@pytest.mark.parametrize("laps", [1, 3, 8])
def test_reader_gets_the_newest_document_when_it_was_overtaken(laps):
    """A reader lapped by the writer tries again, and gives up on no document."""
    view = segment()
    writer = SharedDocument(view, writable=True)
    writer.publish(OLD)
    reader = OvertakenDocument(view, writer)
    reader.laps = laps
    assert reader.read() == (1 + 2 * laps, b"lap 2 0")
