"""Snapshot card: says which chunks on the bus are a saved state, whose, and of when.

Owns:      the layout of a card, its keyed hash and its signature.
Called by: control.shared_snapshots.
Source:    THREATS.md B6 and F14; docs/wire.md. A card vouches for the hash of what it
           names; nothing of a chunk is looked at before that hash was found right.

Who lacks the deployment's hash key cannot write a card that is taken; where frames are
signed, cards are too, and the signer must be the node that the card names.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import orjson

from fastgate.control.frame_seal import FrameSeal
from fastgate.control.json_document import is_int, read_object
from fastgate.domain.event import PUBLISHER
from fastgate.domain.frame import FrameError
from fastgate.errors import ControlError

__all__ = ["HASH_BYTES", "MAX_CARD_BYTES", "SAVE_BYTES", "Card", "content_hash"]

_MAGIC = b"fgcard"
_VERSION = 1
_HEAD = _MAGIC + _VERSION.to_bytes(2)
HASH_BYTES = 32
SAVE_BYTES = 12
MAX_CARD_BYTES = 4_096
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True, slots=True)
class Card:
    """One saved state on the bus.

    region, slot: Where it stands. publisher: The journal of the node that wrote it.
    serial: Grows with each state of that region. wall_ms: When it was begun.
    save: Hexadecimal; stands before each of its chunks. size: Bytes of content.
    digest: Hexadecimal; keyed hash of the content. records: Bytes of a record and
    segments of the table, which other versions may have otherwise.
    """

    region: str
    slot: str
    publisher: str
    serial: int
    wall_ms: int
    save: str
    size: int
    digest: str
    records: str

    @property
    def node(self) -> str:
        """The node that wrote it."""
        return self.publisher.partition(".")[0]

    def encode(self, key: bytes, seal: FrameSeal) -> bytes:
        """Return it with its hash, and signed where frames are. key: The hash key."""
        said = orjson.dumps(asdict(self))
        frame = _HEAD + _card_hash(key, said) + said
        return seal.close(_place(self.region), self.publisher, frame)

    @staticmethod
    def decode(payload: bytes, keys: Iterable[bytes], seal: FrameSeal) -> "Card":
        """Return a card that somebody of this deployment wrote.

        keys: Hash keys, of which one must fit. Raises ControlError for anything else.
        """
        try:
            card = _read(payload, keys, seal)
        except (FrameError, KeyError, ValueError) as exc:
            raise ControlError("a snapshot's card cannot be read") from exc
        if not PUBLISHER.fullmatch(card.publisher):
            raise ControlError("a snapshot's card names no publisher")
        return card


def content_hash(key: bytes) -> "hashlib.blake2b":
    """Return the hash of a content, to be fed with it. key: The hash key."""
    return hashlib.blake2b(digest_size=HASH_BYTES, key=key, person=b"fg-snap-content")


def _card_hash(key: bytes, said: bytes) -> bytes:
    hashed = hashlib.blake2b(
        _HEAD + said, digest_size=HASH_BYTES, key=key, person=b"fg-snap-card"
    )
    return hashed.digest()


def _place(region: str) -> str:
    return f"snapshot/{region}"


def _read(payload: bytes, keys: Iterable[bytes], seal: FrameSeal) -> Card:
    if len(payload) > MAX_CARD_BYTES:
        raise ControlError("a snapshot's card is too large")
    # Behind an envelope, where there is one; that is opened once its signer is known.
    at = payload.find(_HEAD)
    if at < 0:
        raise ControlError("a snapshot's card is of another version")
    frame = payload[at:]
    said = frame[len(_HEAD) + HASH_BYTES :]
    hashed = frame[len(_HEAD) : len(_HEAD) + HASH_BYTES]
    fits = [hmac.compare_digest(_card_hash(key, said), hashed) for key in keys]
    if not any(fits):
        raise ControlError("a snapshot's card is damaged, or of another hash key")
    document = read_object(said)
    region, publisher = _text(document["region"]), _text(document["publisher"])
    if seal.open(_place(region), publisher, payload) != frame:
        raise ControlError("a snapshot's card is not what was signed")
    return Card(
        region=region,
        slot=_text(document["slot"]),
        publisher=publisher,
        serial=_whole(document["serial"]),
        wall_ms=_whole(document["wall_ms"]),
        save=_hex(document["save"], SAVE_BYTES),
        size=_whole(document["size"]),
        digest=_hex(document["digest"], HASH_BYTES),
        records=_text(document["records"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ControlError("a text is missing in a snapshot's card")
    return value


def _whole(value: object) -> int:
    if not is_int(value) or value < 0:
        raise ControlError("a number is missing in a snapshot's card")
    return value


def _hex(value: object, size: int) -> str:
    text = _text(value)
    if len(text) != 2 * size or not _HEX.fullmatch(text):
        raise ControlError("a hash is missing in a snapshot's card")
    return text
