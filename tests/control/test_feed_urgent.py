"""The urgent path: faster than the stream, and never more than that."""

import asyncio
import itertools
import random
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tests.control.feed_net import HASH_KEY, Net, Node, entry, hashed, network, world
from tests.feed_fakes import FakeIndex, until

from fastgate.control.allowance import Allowance
from fastgate.control.frame_seal import FrameSeal, SignedSeal
from fastgate.control.urgent import UrgentResult
from fastgate.domain.entry import RepeatedError
from fastgate.domain.event import Batch, Event, encode_batch, key_id
from fastgate.domain.frame import FaultKind
from fastgate.domain.metrics import METRICS
from fastgate.domain.revocation import Kind

SECOND = 10**9
ONE = "gw-eu-1.aaaaaaaaaaaa"
PLACE = "urgent/eu"


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


def event(node: Node, value: str = "s-1", **members: object) -> Event:
    made = Event(
        id=f"{value.encode().hex():0>24}",
        origin="eu",
        at=node.clock.wall_s(),
        kind=Kind.SID,
        key=hashed(value),
        expires=int(node.clock.wall_s()) + 600,
        key_id=key_id(HASH_KEY),
        seq=1,
        urgent=True,
    )
    return replace(made, **members)


def frame(*events: Event, publisher: str = ONE, origin: str = "eu") -> bytes:
    numbered = [replace(each, seq=seq) for seq, each in enumerate(events, 1)]
    return encode_batch(Batch(origin, publisher, tuple(numbered)))


def heard(node: Node) -> dict[str, int]:
    counts = node.feed.status()["urgent"]["heard"]
    return {name: count for name, count in counts.items() if count}


async def test_urgent_event_is_enforced_everywhere_while_the_stream_hangs(net):
    """Open streams end there too; the entry is pending, for nothing is published."""
    eu, us, ap = await world(net)
    before = us.index.urgent
    eu.bus.hang = True
    receipt = await eu.feed.enter(entry(home="eu", urgent=True))
    assert (receipt.published, us.has(), ap.has()) == (False, True, True)
    assert us.index.urgent == before + 1
    assert heard(us) == {"first": 1}
    eu.bus.hang = False
    publisher = eu.feed.publisher.name
    await until(lambda: us.feed.trackers["eu"].publishers().get(publisher))
    assert us.index.urgent == before + 1
    assert us.index.entries == eu.index.entries


async def test_urgent_event_moves_no_number_and_proves_nothing(net):
    """Enforced only: the stream's account is what it would be without this path."""
    eu, us, _ = await world(net)
    tracker = us.feed.trackers["eu"]
    position, publishers = tracker.position, tracker.publishers()
    us.bus.cut.add("eu")
    us.feed.urged("eu", ONE, frame(event(eu)))
    assert us.has()
    assert tracker.publishers() == publishers
    assert tracker.position >= position
    assert us.feed.enforcement.published(event(eu).id, "eu") is None


async def test_views_agree_with_their_markers_after_urgent_events(net):
    """Digests count what the streams brought, whichever path was first."""
    eu, us, ap = await world(net)
    for number in range(20):
        urgent = bool(number % 2)
        await eu.feed.enter(entry(f"s-{number}", home="eu", urgent=urgent))
    now_ns = eu.clock.boot_ns()
    await until(lambda: all(node.newer("eu", now_ns) for node in (eu, us, ap)))
    assert us.index.entries == ap.index.entries == eu.index.entries
    assert us.feed.trackers["eu"].gaps == 0


async def test_urgent_event_entered_away_from_its_home_goes_the_same_way(net):
    """As `handed` it is enforced wherever it is seen, at its home too."""
    eu, us, ap = await world(net)
    eu.bus.hang = us.bus.hang = True
    receipt = await eu.feed.enter(entry(home="us", urgent=True))
    assert receipt.origin == "us"
    await until(lambda: us.has() and ap.has())
    eu.bus.hang = us.bus.hang = False
    await until(lambda: not eu.feed.handover.pending)
    assert us.index.entries == ap.index.entries == eu.index.entries


async def test_ordinary_event_goes_by_the_stream_alone(net):
    """A bulk entry must not fill the path of those that cannot wait."""
    eu, us, _ = await world(net)
    await eu.feed.enter(entry(home="eu"))
    await until(us.has)
    assert heard(us) == {}
    assert eu.feed.status()["urgent"]["said"] == 0


async def test_entry_is_published_when_the_urgent_path_is_down(net):
    """It is counted, and the stream brings the event to everybody."""
    eu, us, ap = await world(net)
    eu.bus.drop_urgent = True
    before = us.index.urgent
    receipt = await eu.feed.enter(entry(home="eu", urgent=True), wait="regions")
    assert (receipt.published, receipt.complete) == (True, True)
    assert us.has()
    assert ap.has()
    assert us.index.urgent == before + 1
    assert eu.feed.status()["urgent"]["unsaid"] == 1


async def test_entry_does_not_wait_for_a_sender_that_hangs(net, monkeypatch):
    """What waits is bounded, and what is past that is counted."""
    eu, us, _ = await world(net)
    never = asyncio.Event()

    async def urge(publisher: str, payload: bytes) -> None:
        await never.wait()

    monkeypatch.setattr(eu.bus, "urge", urge)
    monkeypatch.setattr("fastgate.control.urgent._MAX_WAITING", 2)
    for number in range(6):
        receipt = await eu.feed.enter(entry(f"s-{number}", home="eu", urgent=True))
        assert receipt.published
    await until(lambda: us.has("s-5"))
    assert eu.feed.status()["urgent"]["unsaid"] >= 3


@pytest.mark.parametrize("at", [0, 1, 2])
async def test_lifted_event_stays_lifted_whenever_its_urgent_copy_comes(net, at):
    """The set of events minus lifted ids is the same whatever the order of arrival."""
    eu, us, ap = await world(net)
    eu.bus.drop_urgent = True
    revoked = event(eu)
    copies = [frame(revoked), frame(revoked)]

    async def revoke() -> None:
        await eu.feed.publisher.enter(revoked)
        await until(us.has)

    async def lift() -> None:
        await eu.feed.lift(revoked.id)

    steps = [revoke, lift]
    for number, step in enumerate((*steps, None)):
        if number == at:
            for node, copy in itertools.product((us, ap), copies):
                node.feed.urged("eu", ONE, copy)
        if step is not None:
            await step()
    now_ns = eu.clock.boot_ns()
    await until(lambda: all(node.newer("eu", now_ns) for node in (us, ap)))
    assert not eu.has()
    assert not us.has()
    assert not ap.has()


async def test_lift_that_the_stream_has_before_its_event_wins(net):
    """Heard urgently and lifted by a neighbour while the publisher still hangs."""
    eu, us, ap = await world(net)
    second = await net.add("eu", "gw-eu-2")
    await until(second.fresh)
    eu.bus.hang = True
    entered = await eu.feed.enter(entry(home="eu", urgent=True))
    await until(second.has)
    assert await second.feed.lift(entered.id)
    await until(lambda: not second.has())
    eu.bus.hang = False
    await until(lambda: not eu.feed.publisher.pending)
    now_ns = eu.clock.boot_ns()
    nodes = (eu, us, ap, second)
    await until(lambda: all(node.newer("eu", now_ns) for node in nodes))
    assert not any(node.has() for node in nodes)


@pytest.mark.parametrize(
    ("age_s", "result"),
    [(0, "first"), (29, "first"), (41, "late"), (3_600, "late"), (-9, "first"),
     (-11, "late")],
)  # fmt: skip
async def test_frame_counts_within_its_window_only(net, age_s, result):
    """M1: what was heard and kept by somebody revokes nobody a minute later."""
    _, us, _ = await world(net)
    at = us.clock.wall_s() - age_s
    us.feed.urged("eu", ONE, frame(event(us, at=at)))
    assert heard(us) == {result: 1}
    assert us.has() is (result == "first")


async def test_event_that_is_over_is_dropped(net):
    """Also where its frame is young."""
    _, us, _ = await world(net)
    us.feed.urged("eu", ONE, frame(event(us, expires=int(us.clock.wall_s()) - 1)))
    assert heard(us) == {"late": 1}
    assert not us.has()


async def test_event_that_only_the_urgent_path_brought_may_be_entered_here(net):
    """Its gateway may be gone with its journal: then this one has to keep it."""
    eu, us, ap = await world(net)
    eu.bus.hang = True
    said = entry(home="eu", urgent=True, id="f" * 24)
    await eu.feed.enter(said)
    await until(us.has)
    await net.stop(eu)
    second = await net.add("eu", "gw-eu-2")
    second.feed.urged("eu", ONE, frame(event(second, id="f" * 24)))
    assert second.has()
    receipt = await second.feed.enter(said)
    assert receipt.published
    for node in (second, us, ap):
        await until(lambda n=node: n.feed.enforcement.published("f" * 24, "eu"))
        with pytest.raises(RepeatedError):
            await node.feed.enter(said)


async def test_frame_that_is_repeated_wakes_workers_once(net):
    """The event's id is the nonce."""
    _, us, _ = await world(net)
    before = us.index.urgent
    for _ in range(5):
        us.feed.urged("eu", ONE, frame(event(us)))
    assert heard(us) == {"first": 1, "known": 4}
    assert us.index.urgent == before + 1


async def test_frame_that_says_too_much_is_refused_whole(net):
    """No lift, nothing ordinary, nobody else's name, no key that is not here."""
    eu, us, _ = await world(net)
    good, other = event(eu), event(eu, "s-2")
    refused = {
        "lift": ("eu", ONE, frame(good, replace(other, lifts=good.id))),
        "ordinary": ("eu", ONE, frame(good, replace(other, urgent=False))),
        "publisher": ("eu", ONE, frame(good, publisher="gw-eu-2.aaaaaaaaaaaa")),
        "origin": ("eu", ONE, frame(good, origin="us")),
        "region": ("mars", ONE, frame(good, origin="mars")),
        "hash key": ("eu", ONE, frame(replace(good, key_id="00000000"))),
        "size": ("eu", ONE, frame(good) + b"\0" * 300_000),
        "rest": ("eu", ONE, frame(good) + b"\0"),
        "nothing": ("eu", ONE, b""),
        "no publisher": ("eu", "", frame(good)),
    }
    for number, (origin, publisher, payload) in enumerate(refused.values(), 1):
        us.feed.urged(origin, publisher, payload)
        assert heard(us) == {"rejected": number}
    assert not us.has()
    assert not us.has("s-2")
    us.feed.urged("eu", ONE, frame(good))
    assert us.has()


async def test_no_frame_can_stop_the_feed(net):
    """F7: whatever somebody sends, what is true goes on."""
    eu, us, _ = await world(net)
    rng = random.Random(7)
    sample = frame(event(eu, "s-0"))
    for _ in range(600):
        mutated = bytearray(sample[: rng.randint(1, len(sample))])
        for _ in range(rng.randint(1, 6)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        us.feed.urged("eu", ONE, bytes(mutated))
    await eu.feed.enter(entry(home="eu", urgent=True))
    await until(us.has)


async def test_own_frame_is_nothing_new(net):
    """A bus may bring back what was sent."""
    eu, _, _ = await world(net)
    await eu.feed.enter(entry(home="eu", urgent=True))
    assert heard(eu) == {}


async def test_flood_of_one_sender_is_dropped_and_others_are_heard(net):
    """Past its allowance a frame is not even read; the stream still brings it."""
    eu, us, _ = await world(net)
    frames = [frame(event(eu, f"s-{number}")) for number in range(3_000)]
    for payload in frames:
        us.feed.urged("eu", ONE, payload)
    counts = heard(us)
    assert counts["flood"] > 1_000
    assert counts["first"] < 2_000
    two = "gw-eu-2.bbbbbbbbbbbb"
    us.feed.urged("eu", two, frame(event(eu, "other"), publisher=two))
    assert us.has("other")


async def test_frame_of_many_events_uses_up_as_many_of_its_senders(net):
    """256 in a frame are no way around the allowance."""
    eu, us, _ = await world(net)
    for start in range(0, 5_120, 256):
        some = [event(eu, f"s-{n}") for n in range(start, start + 256)]
        us.feed.urged("eu", ONE, frame(*some))
    assert heard(us)["first"] < 2_000


async def test_full_index_is_left_to_the_stream_to_tell(net):
    """The stream brings what did not fit, and then nothing is proven."""
    await world(net)
    small = await net.add("us", "gw-us-2", index=FakeIndex(room=0))
    await until(small.fresh)
    small.feed.urged("eu", ONE, frame(event(small)))
    assert heard(small) == {"full": 1}
    assert ("index_full", "index") not in small.alarms


def test_allowance_grows_with_time_and_never_past_its_measure():
    """A sender that was silent for an hour may not say an hour's worth at once."""
    allowance = Allowance(per_s=10, burst=20, all_per_s=100, all_burst=200)
    now = 3_600 * SECOND
    assert sum(allowance.admits("a", now) for _ in range(50)) == 20
    assert sum(allowance.admits("a", now + SECOND) for _ in range(50)) == 10
    assert sum(allowance.admits("a", now + 9_999 * SECOND) for _ in range(50)) == 20


def test_allowance_of_all_bounds_a_thousand_names():
    """Whoever takes another name each time gets no further than that."""
    allowance = Allowance(per_s=10, burst=20, all_per_s=100, all_burst=200)
    names = [f"eu/gw-{number}" for number in range(5_000)]
    assert sum(allowance.admits(name, SECOND) for name in names) <= 300


def test_allowance_that_is_owed_is_paid_back_first():
    """A large frame is taken once, and silences its sender for as long."""
    allowance = Allowance(per_s=10, burst=20, all_per_s=1_000, all_burst=2_000)
    assert allowance.admits("a", 0)
    allowance.charge("a", 39, 0)
    assert not allowance.admits("a", 2 * SECOND)
    assert allowance.admits("a", 2 * SECOND + SECOND // 5)


KEYS = {f"gw-{r}-1": ec.generate_private_key(ec.SECP256R1()) for r in ("eu", "us")}
TRUSTED = {node: (key.public_key(),) for node, key in KEYS.items()}
STRANGER = ec.generate_private_key(ec.SECP256R1())


@pytest.mark.parametrize(
    "signed_by", ["nobody", "stranger", "other-node", "stream", "other-origin"]
)
async def test_frame_that_its_node_did_not_sign_revokes_nobody(net, signed_by):
    """Dropped and counted; a signature for the stream is none for this path."""
    us = await net.add("us", seal=SignedSeal(KEYS["gw-us-1"], TRUSTED))
    payload = frame(event(us))
    seal = SignedSeal(KEYS["gw-eu-1"], TRUSTED)
    us.feed.urged(
        "eu",
        ONE,
        {
            "nobody": payload,
            "stranger": SignedSeal(STRANGER, {}).close(PLACE, ONE, payload),
            "other-node": SignedSeal(KEYS["gw-us-1"], {}).close(PLACE, ONE, payload),
            "stream": seal.close("eu", ONE, payload),
            "other-origin": seal.close("urgent/us", ONE, payload),
        }[signed_by],
    )
    assert us.feed.status()["urgent"]["rejected"] == {FaultKind.SIGNATURE: 1}
    assert not us.has()


async def test_signed_frames_are_taken_by_all(net):
    """By those who check, and by those who only take the envelope off."""
    eu = await net.add("eu", seal=SignedSeal(KEYS["gw-eu-1"], TRUSTED))
    us = await net.add("us", seal=SignedSeal(KEYS["gw-us-1"], TRUSTED))
    ap = await net.add("ap", seal=FrameSeal())
    await until(lambda: eu.fresh("eu") and us.fresh("eu") and ap.fresh("eu"))
    eu.bus.hang = True
    await eu.feed.enter(entry(home="eu", urgent=True))
    assert us.has()
    assert ap.has()


def test_every_result_is_a_label_of_the_metric():
    """What is counted can be read from /metrics."""
    metric = next(m for m in METRICS if m.name == "fastgate_revocation_urgent_total")
    assert metric.labels == (("result", tuple(each.value for each in UrgentResult)),)
