"""Signed frames: what nobody vouches for is a gap, and moves nothing."""

from collections.abc import AsyncGenerator

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.config.documents import BASE, load_text
from tests.control.feed_net import HASH_KEY, Net, Node, entry, hashed, network
from tests.feed_fakes import until

from fastgate.config.revocation import Signing
from fastgate.control.frame_seal import FrameSeal, SignedSeal
from fastgate.domain.event import Batch, Event, encode_batch, encode_event, key_id
from fastgate.domain.frame import FaultKind, FrameError
from fastgate.domain.revocation import Kind
from fastgate.errors import ConfigError, ControlError
from fastgate.wiring.installation import check_installation
from fastgate.wiring.signing import build_seal

REGIONS = ("eu", "us", "ap")
KEYS = {f"gw-{region}-1": ec.generate_private_key(ec.SECP256R1()) for region in REGIONS}
TRUSTED = {node: (key.public_key(),) for node, key in KEYS.items()}
STRANGER = ec.generate_private_key(ec.SECP256R1())
ONE = "gw-eu-1.aaaaaaaaaaaa"


def seal(node: str = "gw-eu-1") -> SignedSeal:
    return SignedSeal(KEYS[node], TRUSTED)


@pytest.fixture
async def net() -> AsyncGenerator[Net, None]:
    async with network() as made:
        yield made


async def world(net: Net) -> list[Node]:
    nodes = [await net.add(r, seal=seal(f"gw-{r}-1")) for r in REGIONS]
    await until(lambda: all(node.fresh() for node in nodes))
    return nodes


def forged(node: Node, publisher: str, seq: int = 1) -> bytes:
    """Return a batch as a bus would invent it."""
    event = Event(
        id="forged",
        origin="eu",
        at=1.0,
        kind=Kind.SID,
        key=hashed("victim"),
        expires=2**32 - 1,
        key_id=key_id(HASH_KEY),
        seq=seq,
    )
    return encode_batch(Batch("eu", publisher, (event,)))


async def test_signed_events_and_markers_reach_every_region(net):
    """With keys of their own, nodes agree as without; also across a hand-over."""
    eu, us, ap = await world(net)
    receipt = await eu.feed.enter(entry(home="us"), wait="regions")
    assert receipt.complete
    assert us.has()
    assert ap.has()
    for stored in net.broker.stream("us").messages.values():
        assert stored.payload.startswith(b"\xfa\x5f\x01")


@pytest.mark.parametrize(
    "signed_by", ["nobody", "stranger", "other-node", "other-place"]
)
async def test_invented_batch_is_a_gap_and_revokes_nobody(net, signed_by):
    """B1: dropped, counted, no number moved; and no evidence until it is cleared."""
    eu, us, _ = await world(net)
    publisher = eu.feed.publisher.name
    frame = forged(eu, publisher, seq=eu.journal.last + 1)
    payload = {
        "nobody": frame,
        "stranger": SignedSeal(STRANGER, {}).close("eu", publisher, frame),
        "other-node": seal("gw-us-1").close("eu", publisher, frame),
        "other-place": seal().close("us", publisher, frame),
    }[signed_by]
    net.broker.store("eu", publisher, payload)
    await until(lambda: us.feed.trackers["eu"].faults[FaultKind.SIGNATURE] > 0)
    assert not us.has("victim")
    assert us.feed.trackers["eu"].publishers().get(publisher, 0) == 0
    await eu.feed.enter(entry(home="eu"))
    await until(us.has)
    await until(lambda: us.newer("eu", us.clock.boot_ns() - 10**8))
    assert not us.has("victim")


async def test_event_handed_over_by_a_stranger_is_not_taken(net):
    """A home publishes in its own name only what a node it trusts has signed."""
    eu, _, _ = await world(net)
    event = Event(
        id="a", origin="eu", at=1.0, kind=Kind.SID, key=hashed("victim"),
        expires=2**32 - 1, key_id=key_id(HASH_KEY),
    )  # fmt: skip
    plain = encode_event(event)
    for payload in (plain, SignedSeal(STRANGER, {}).close("hand/eu", ONE, plain)):
        with pytest.raises(ControlError):
            await eu.feed.handed(payload)
    assert not eu.has("victim")
    assert await eu.feed.handed(
        seal("gw-us-1").close("hand/eu", "gw-us-1.aaaaaaaaaaaa", plain)
    )


async def test_nodes_without_keys_read_what_others_sign(net):
    """First every node signs, then each one asks for it: no step loses anything."""
    eu = await net.add("eu", seal=seal())
    us = await net.add("us")
    await until(lambda: us.fresh("eu", "us"))
    await eu.feed.enter(entry(home="eu"))
    await until(us.has)
    assert not eu.fresh("us")
    assert eu.feed.trackers["us"].faults[FaultKind.SIGNATURE]


@pytest.mark.parametrize("at", range(0, 120, 7))
def test_envelope_is_refused_when_an_octet_is_another_one(at):
    """Name, signature and frame hang together."""
    payload = bytearray(seal().close("eu", ONE, b"x" * 40))
    payload[at] ^= 1
    with pytest.raises(FrameError):
        seal().open("eu", ONE, bytes(payload))


def test_envelope_is_refused_when_it_is_cut():
    """By those who check, and by those who only take it off."""
    payload = seal().close("eu", ONE, b"x")
    for opener in (seal(), FrameSeal()):
        assert opener.open("eu", ONE, payload) == b"x"
        assert opener.open("eu", "", payload) == b"x"
        for size in range(2, len(payload) - 1):
            with pytest.raises(FrameError):
                opener.open("eu", ONE, payload[:size])
        with pytest.raises(FrameError):
            opener.open("eu", "gw-eu-2.aaaaaaaaaaaa", payload)


def pem(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    """Return both halves."""
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return private, key.public_key().public_bytes(serialization.Encoding.PEM, spki)


def test_keys_come_from_their_files(tmp_path):
    """Several of one node stand in one file, while that node's key is exchanged."""
    mine, theirs = tmp_path / "mine.pem", tmp_path / "theirs.pem"
    mine.write_bytes(pem(KEYS["gw-eu-1"])[0])
    theirs.write_bytes(pem(STRANGER)[1] + pem(KEYS["gw-us-1"])[1])
    signing = Signing(key=str(mine), trusted={"gw-us-1": str(theirs)})
    made = build_seal(signing, "gw-eu-1")
    assert made.open("eu", ONE, made.close("eu", ONE, b"x")) == b"x"
    other = seal("gw-us-1").close("us", "gw-us-1.aaaaaaaaaaaa", b"y")
    assert made.open("us", "gw-us-1.aaaaaaaaaaaa", other) == b"y"
    assert type(build_seal(None, "gw-eu-1")) is FrameSeal


def test_keys_are_refused_when_they_are_none(tmp_path):
    """A node that cannot sign does not start."""
    private, public = pem(STRANGER)
    wide = pem(ec.generate_private_key(ec.SECP384R1()))
    files = {"private": private, "public": public, "none": b"", "wide": wide[0]}
    for name, raw in {**files, "wide-public": wide[1]}.items():
        (tmp_path / name).write_bytes(raw)
    path = {name: str(tmp_path / name) for name in [*files, "wide-public", "absent"]}
    for key in ("absent", "none", "public", "wide"):
        with pytest.raises(ConfigError):
            build_seal(Signing(key=path[key]), "gw")
    for key in ("absent", "none", "private", "wide-public"):
        signing = Signing(key=path["private"], trusted={"gw-2": path[key]})
        with pytest.raises(ConfigError):
            build_seal(signing, "gw")


def test_gateway_does_not_start_without_the_key_it_is_to_sign_with(tmp_path):
    """In a child it would come too late: the supervisor would try again and again."""
    absent = tmp_path / "absent.pem"
    text = (
        BASE + f"revocation: {{bus: 'nats://127.0.0.1', signing: {{key: {absent}}}}}\n"
    )
    config = load_text(tmp_path, text).require()
    with pytest.raises(ConfigError, match=r"absent\.pem"):
        check_installation(config)
