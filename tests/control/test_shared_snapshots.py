"""Saved states on the bus: whole, of this deployment, not older ones, or none."""

from collections.abc import AsyncIterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.control.feed_net import HASH_KEY
from tests.feed_fakes import BootClock
from tests.shelf_fake import LONGEST_S, FakeShelf, states

from fastgate.control.frame_seal import SignedSeal
from fastgate.control.shared_snapshots import CHUNK_BYTES
from fastgate.errors import ControlError

WHOLE = bytes(range(256)) * 3_000  # three chunks, the last one short


async def parts(content: bytes = WHOLE) -> AsyncIterator[bytes]:
    yield content[:100]
    yield content[100:]


@pytest.fixture
def shelf() -> FakeShelf:
    return FakeShelf()


async def test_state_comes_back_as_it_was_left(shelf):
    """In chunks that every bus carries."""
    assert await states(shelf, BootClock()).save(parts()) == len(WHOLE)
    assert len(shelf.blobs) == 4
    assert all(len(blob) <= 262_144 for blob in shelf.blobs.values())
    assert bytes(await states(shelf, BootClock()).load()) == WHOLE


async def test_nothing_is_loaded_when_nothing_was_left(shelf):
    """That is no fault."""
    assert await states(shelf, BootClock()).load() is None
    assert await states(shelf, BootClock()).newest_s() is None


async def test_other_region_is_read_when_the_own_one_has_none(shelf):
    """Every node has every origin, so any state will do."""
    await states(shelf, BootClock(), region="eu").save(parts())
    assert bytes(await states(shelf, BootClock()).load()) == WHOLE


async def test_one_before_is_whole_while_the_next_is_written(shelf):
    """A writer that dies in between has left nothing."""
    writer = states(shelf, BootClock())
    await writer.save(parts(b"first" * 100_000))

    async def breaking() -> AsyncIterator[bytes]:
        yield b"second" * 100_000
        raise ControlError("killed")

    with pytest.raises(ControlError, match="killed"):
        await writer.save(breaking())
    assert bytes(await states(shelf, BootClock()).load()) == b"first" * 100_000


async def test_newest_is_taken_and_the_one_before_when_that_is_damaged(shelf):
    """Two places in turn."""
    writer = states(shelf, BootClock())
    await writer.save(parts(b"first"))
    await writer.save(parts(b"second"))
    assert bytes(await states(shelf, BootClock()).load()) == b"second"
    del shelf.blobs["us", "b.0"]
    assert bytes(await states(shelf, BootClock()).load()) == b"first"
    await writer.save(parts(b"third"))
    await writer.save(parts(b"fourth"))
    assert bytes(await states(shelf, BootClock()).load()) == b"fourth"


async def test_older_one_of_a_writer_is_refused_when_a_later_one_was_seen(shelf):
    """Put back by whoever can write there: the serial number never goes back."""
    writer, reader = states(shelf, BootClock()), states(shelf, BootClock())
    await writer.save(parts(b"first"))
    old = dict(shelf.blobs)
    await writer.save(parts(b"second"))
    await reader.load()
    shelf.blobs.clear()
    shelf.blobs.update(old)
    with pytest.raises(ControlError, match="later one"):
        await reader.load()


async def test_serial_goes_on_when_the_writer_was_wiped(shelf):
    """It follows from what is there, not from what a node remembers."""
    await states(shelf, BootClock()).save(parts(b"first"))
    reader = states(shelf, BootClock())
    await reader.load()
    await states(shelf, BootClock()).save(parts(b"second"))
    assert bytes(await reader.load()) == b"second"


@pytest.mark.parametrize(
    ("wall_s", "why"),
    [(LONGEST_S, "old"), (-302, "old")],
    ids=["outlived", "of-the-future"],
)
async def test_state_is_refused_by_its_time(shelf, wall_s, why):
    """Older than the longest life it has nothing that is in force."""
    await states(shelf, BootClock()).save(parts())
    clock = BootClock()
    clock.wall_offset_s = wall_s
    assert await states(shelf, clock).load() is None
    assert await states(shelf, clock).newest_s() is None


async def test_state_of_another_hash_key_is_refused(shelf):
    """Who lacks the deployment's key writes nothing that is taken."""
    await states(shelf, BootClock(), keys=[b"x" * 32]).save(parts())
    assert await states(shelf, BootClock()).load() is None
    both = states(shelf, BootClock(), keys=[HASH_KEY, b"x" * 32])
    assert bytes(await both.load()) == WHOLE, "the old key of a rotation"


async def test_card_counts_in_its_own_place_only(shelf):
    """Another region's state cannot be passed off as this one's."""
    await states(shelf, BootClock(), region="eu").save(parts())
    for (_, name), blob in list(shelf.blobs.items()):
        shelf.blobs["us", name] = blob
        shelf.blobs["us", name.replace("a.", "b.")] = blob
    del shelf.blobs["eu", "a.card"]
    assert await states(shelf, BootClock()).load() is None


@pytest.mark.parametrize("fault", ["swapped", "of-another", "short", "long", "gone"])
async def test_chunks_count_whole_and_in_order_only(shelf, fault):
    """Nothing is taken of half a state."""
    await states(shelf, BootClock()).save(parts())
    blobs = shelf.blobs
    first, second = blobs["us", "a.0"], blobs["us", "a.1"]
    if fault == "swapped":
        blobs["us", "a.0"], blobs["us", "a.1"] = second, first
    elif fault == "of-another":
        blobs["us", "a.1"] = bytes(12) + second[12:]
    elif fault == "short":
        blobs["us", "a.1"] = second[:-1]
    elif fault == "long":
        blobs["us", "a.2"] += b"x"
    else:
        del blobs["us", "a.2"]
    with pytest.raises(ControlError, match="chunk"):
        await states(shelf, BootClock()).load()


async def test_state_larger_than_the_bound_is_neither_sent_nor_taken(shelf):
    """Bounded at both ends, and by the room that the server has."""
    small = states(shelf, BootClock(), max_bytes=CHUNK_BYTES)
    with pytest.raises(ControlError, match="more than"):
        await small.save(parts())
    assert await states(shelf, BootClock()).load() is None
    shelf.space = CHUNK_BYTES
    with pytest.raises(ControlError, match="more than"):
        await states(shelf, BootClock()).save(parts())
    shelf.space = 1 << 30
    await states(shelf, BootClock()).save(parts())
    assert await small.load() is None


async def test_fault_of_the_bus_is_no_absence(shelf):
    """An answer that did not come is told as such."""
    shelf.down = True
    with pytest.raises(ControlError, match="in time"):
        await states(shelf, BootClock()).load()


async def test_unsigned_state_is_refused_where_frames_are_signed(shelf):
    """And one that a node signed in the name of another."""
    one, two = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    trusted = {"gw-us-2": [one.public_key()], "gw-us-3": [two.public_key()]}
    seal = SignedSeal(one, trusted)
    await states(shelf, BootClock()).save(parts())
    assert await states(shelf, BootClock(), seal=seal).load() is None
    await states(shelf, BootClock(), seal=seal).save(parts())
    await states(shelf, BootClock(), seal=seal).save(parts())
    other = SignedSeal(two, trusted)
    assert bytes(await states(shelf, BootClock(), seal=other).load()) == WHOLE
    # Who has the key of node 3 cannot speak for node 2.
    shelf.blobs.clear()
    await states(shelf, BootClock(), seal=other).save(parts())
    assert await states(shelf, BootClock(), seal=seal).load() is None


async def test_newest_of_the_other_regions_is_taken(shelf):
    """By their clocks, as there is no other order between regions."""
    early, late = BootClock(), BootClock()
    early.wall_offset_s = -120
    for region, clock in (("ap", early), ("eu", late)):
        await states(shelf, clock, region=region).save(parts(region.encode()))
    assert bytes(await states(shelf, BootClock()).load()) == b"eu"


async def test_number_counts_within_a_region_whatever_its_clocks_do(shelf):
    """A writer whose clock was set back has written later all the same."""
    back = BootClock()
    await states(shelf, BootClock()).save(parts(b"first"))
    back.wall_offset_s = -120
    await states(shelf, back, publisher="gw-us-3.journal-1").save(parts(b"second"))
    assert bytes(await states(shelf, BootClock()).load()) == b"second"
