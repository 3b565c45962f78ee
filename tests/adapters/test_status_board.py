"""The status board: readers have the old list or the new one, whole, and in place."""

import random
import threading

import pytest

from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.status_board import StatusBoard
from fastgate.errors import ControlError

SECOND_NS = 10**9
FOREVER_NS = 10**18


class Segment:
    """Memory that a writer and readers share."""

    def __init__(self, data_bytes: int = 1 << 16) -> None:
        self.head = bytearray(1 << 14)
        self.data = bytearray(data_bytes)

    def board(self, *, writable: bool = False) -> StatusBoard:
        directory = SharedDocument(self.head, writable=writable)
        return StatusBoard(directory, memoryview(self.data))


@pytest.fixture
def segment() -> Segment:
    return Segment()


def put(board: StatusBoard, name: str, raw: bytes, *, bits: int = 1, now_ns: int = 0):
    board.put(name, raw, bits, until_ns=FOREVER_NS, now_ns=now_ns)


def test_reader_follows_the_writer(segment):
    reader = segment.board()
    assert reader.status("a", 0, 0) == -1
    writer = segment.board(writable=True)
    put(writer, "a", b"\x02")
    put(writer, "b", b"\x30", bits=4)
    assert [reader.status("a", i, 0) for i in range(3)] == [0, 1, 0]
    assert [reader.status("b", i, 0) for i in range(3)] == [0, 3, -2]
    put(writer, "a", b"\x01")
    assert [reader.status("a", i, 0) for i in range(2)] == [1, 0]
    writer.keep_only({"b"}, now_ns=0)
    assert reader.status("a", 0, 0) == -1
    assert reader.status("b", 1, 0) == 3


def test_list_counts_until_its_time(segment):
    writer = segment.board(writable=True)
    writer.put("a", b"\x00", 1, until_ns=100, now_ns=0)
    assert segment.board().status("a", 0, 99) == 0
    assert segment.board().status("a", 0, 100) == -1
    assert writer.until_ns("a") == 100


def test_next_agent_finds_what_its_predecessor_published(segment):
    put(segment.board(writable=True), "a", b"\x01")
    writer = segment.board(writable=True)
    assert writer.status("a", 0, 0) == 1
    put(writer, "b", b"\x02" * 5000)
    reader = segment.board()
    assert (reader.status("a", 0, 0), reader.status("b", 1, 0)) == (1, 1)


def test_place_is_used_again_only_after_a_while(segment):
    """Somebody may still look at what was there a moment ago."""
    small = Segment(3 * 4096)
    writer = small.board(writable=True)
    put(writer, "a", bytes(4096), now_ns=0)
    put(writer, "a", bytes(4096), now_ns=1)
    put(writer, "a", bytes(4096), now_ns=2)
    with pytest.raises(ControlError):
        put(writer, "a", b"\xff" * 4096, now_ns=3)
    assert small.board().status("a", 7, 0) == 0
    put(writer, "a", b"\xff" * 4096, now_ns=2 * SECOND_NS)
    assert small.board().status("a", 7, 0) == 1


def test_list_without_room_leaves_the_old_one(segment):
    writer = segment.board(writable=True)
    put(writer, "a", b"\x01")
    with pytest.raises(ControlError):
        put(writer, "a", bytes(1 << 17))
    assert segment.board().status("a", 0, 0) == 1


def test_lists_never_overlap(segment):
    """Random sizes and orders; every list keeps its own content."""
    rng = random.Random(3)
    writer, reader = segment.board(writable=True), segment.board()
    held: dict[str, tuple[bytes, int]] = {}
    for turn in range(300):
        name = f"list-{rng.randrange(6)}"
        raw = bytes([rng.randrange(256)]) * rng.randrange(1, 9_000)
        try:
            put(writer, name, raw, bits=8, now_ns=turn * 2 * SECOND_NS)
        except ControlError:
            continue
        held[name] = raw, len(raw)
        if rng.random() < 0.1:
            gone = held.popitem()[0]
            writer.keep_only(set(held), now_ns=turn * 2 * SECOND_NS)
            assert reader.status(gone, 0, 0) == -1
        for each, (content, size) in held.items():
            assert reader.status(each, 0, 0) == content[0]
            assert reader.status(each, size - 1, 0) == content[0]
            assert reader.status(each, size, 0) == -2


def test_reader_beside_a_writer_never_goes_back(segment):
    """Each version has one value throughout, larger than the one before."""
    writer, reader = segment.board(writable=True), segment.board()
    put(writer, "a", bytes(64), bits=8)

    def write() -> None:
        for turn in range(1, 256):
            put(writer, "a", bytes([turn]) * 64, bits=8, now_ns=turn * SECOND_NS)

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while seen < 255:
        for index in (0, 63):
            found = reader.status("a", index, 0)
            assert seen <= found <= 255
            seen = found
    thread.join()
