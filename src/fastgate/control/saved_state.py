"""Saved state: the parts of a snapshot, and how they are told apart.

Owns:      the layout inside of the file; which parts may be absent.
Called by: control.snapshots.
Source:    REVOCATION.md sections 4 (backfill from a saved snapshot) and 5.

A part is a word of four letters, its length in eight octets, and its content. The file
as a whole is guarded by a hash, so that what is read here was written here; it is read
strictly all the same, since another version of fastgate may have written it.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from fastgate.control.json_document import is_int, read_object
from fastgate.errors import ControlError

__all__ = ["Head", "SavedStream", "part", "parts", "read_head"]

_FRAME = struct.Struct(">4sQ")


@dataclass(frozen=True, slots=True)
class SavedStream:
    """What was read of an origin's stream.

    sums: By publisher, as PublisherState.dump gave them. blind: By id of a hash key
    that was not known: when the last event under it ends, seconds.
    """

    incarnation: str
    position: int
    sums: Mapping[str, bytes] = field(default_factory=dict)
    blind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """What a snapshot says of itself.

    node: Whose it is. serial: Grows with each one of that node. publisher, row: The
    journal, and the row up to which everything in it is included. wall_s: When.
    origins, key_ids: Names by the numbers that records use. seeds: Of the store.
    streams: By origin; an origin without one is read from its start.
    """

    node: str
    serial: int
    publisher: str
    row: int
    wall_s: int
    origins: tuple[str, ...]
    key_ids: tuple[str, ...]
    seeds: tuple[int, int]
    entries: int
    streams: Mapping[str, SavedStream]

    def encode(self) -> bytes:
        """Return the first part, without the sums."""
        return orjson.dumps(
            {
                "node": self.node,
                "serial": self.serial,
                "publisher": self.publisher,
                "row": self.row,
                "wall_s": self.wall_s,
                "origins": self.origins,
                "key_ids": self.key_ids,
                "seeds": self.seeds,
                "entries": self.entries,
                "streams": {
                    origin: [
                        stream.incarnation,
                        stream.position,
                        list(stream.sums),
                        dict(stream.blind),
                    ]
                    for origin, stream in self.streams.items()
                },
            }
        )


def part(word: bytes, content: bytes) -> bytes:
    """Return one part as it is written."""
    return _FRAME.pack(word, len(content)) + content


def parts(state: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield the parts in order. Raises ControlError for a broken row of them."""
    at = 0
    while at < len(state):
        if len(state) - at < _FRAME.size:
            raise ControlError("the snapshot ends in the middle")
        word, size = _FRAME.unpack_from(state, at)
        at += _FRAME.size
        if len(state) - at < size:
            raise ControlError("the snapshot ends in the middle")
        yield word, state[at : at + size]
        at += size


def read_head(found: Iterator[tuple[bytes, memoryview]]) -> Head:
    """Return the head, from the first parts of a snapshot. Raises ControlError."""
    try:
        word, content = next(found)
        if word != b"HEAD":
            raise ControlError("the snapshot has no head")
        said = read_object(bytes(content))
        return Head(
            node=_text(said["node"]),
            serial=_whole(said["serial"]),
            publisher=_text(said["publisher"]),
            row=_whole(said["row"]),
            wall_s=_whole(said["wall_s"]),
            origins=tuple(map(_text, _list(said["origins"]))),
            key_ids=tuple(map(_text, _list(said["key_ids"]))),
            seeds=_seeds(said["seeds"]),
            entries=_whole(said["entries"]),
            streams=_streams(said["streams"], found),
        )
    except (StopIteration, ValueError, KeyError) as exc:
        raise ControlError("the snapshot has no head that can be read") from exc


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ControlError("a text is missing in the head of the snapshot")
    return value


def _whole(value: object) -> int:
    if not is_int(value):
        raise ControlError("a number is missing in the head of the snapshot")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise ControlError("a list is missing in the head of the snapshot")
    return value


def _seeds(value: object) -> tuple[int, int]:
    first, second = _list(value)
    # Of 64 bits: more than the other numbers, which every reader of JSON takes.
    if type(first) is not int or type(second) is not int:
        raise ControlError("a seed is missing in the head of the snapshot")
    if min(first, second) < 0 or max(first, second) >= 2**64:
        raise ControlError("a seed of the snapshot has more than 64 bits")
    return first, second


def _streams(
    value: object, found: Iterator[tuple[bytes, memoryview]]
) -> dict[str, SavedStream]:
    if not isinstance(value, dict):
        raise ControlError("a stream is missing in the head of the snapshot")
    streams = {}
    for origin, said in value.items():
        incarnation, position, publishers, blind = _list(said)
        sums = _sums(found, list(map(_text, _list(publishers))))
        streams[origin] = SavedStream(
            _text(incarnation), _whole(position), sums, _numbers(blind)
        )
    return streams


def _numbers(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ControlError("the snapshot lacks numbers by name")
    return {name: _whole(number) for name, number in value.items()}


def _sums(
    found: Iterator[tuple[bytes, memoryview]], publishers: list[str]
) -> dict[str, bytes]:
    sums = {}
    for publisher in publishers:
        word, content = next(found)
        if word != b"SUMS":
            raise ValueError("sums are expected")
        sums[publisher] = bytes(content)
    return sums
