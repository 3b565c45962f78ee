"""Keyring: fetches, flights and publishing around the key policies."""

import asyncio

import pytest
from tests.jwk_makers import ec_pair
from tests.key_fakes import LOGIN, OTHER, Node, answer, key_set, settle

from fastgate.control.key_policy import KeySource
from fastgate.control.keyring import pause
from fastgate.errors import ControlError

A, B = ec_pair().jwk(kid="a"), ec_pair().jwk(kid="b")
METADATA = (
    b'{"issuer":"https://login.example.com","jwks_uri":"https://k.example.com/j"}'
)


def node_with(*sources, say=None, store=None):
    return Node(*sources, say=key_set(A) if say is None else say, store=store)


async def bogus_kids(node, count, tag):
    await asyncio.gather(
        *(node.keyring.asked("login", f"{tag}{n}") for n in range(count))
    )


async def test_keyring_fetches_at_start_and_publishes():
    """A started keyring has keys for the workers as soon as the issuer answered."""
    async with node_with() as node:
        assert node.kids() == {"a"}
        assert node.published().last_fetch_ok is True
        assert node.published().fetched_at == int(node.time.wall_s())
        assert node.keyring.ready()
        method, url, headers, body = node.endpoint.calls[0]
        assert (method, url, body) == ("GET", LOGIN.jwks_url, None)
        assert headers["accept"].startswith("application/jwk-set+json")


async def test_keyring_refreshes_before_the_life_of_the_keys_ends():
    """No request ever waits for a scheduled refresh."""
    async with node_with() as node:
        await node.time.pass_by(479)
        assert len(node.endpoint.calls) == 1
        await node.time.pass_by(2)
        assert len(node.endpoint.calls) == 2
        await node.time.pass_by(10 * 480)
        assert len(node.endpoint.calls) == 12


async def test_thousand_bogus_kids_cause_one_fetch():
    """T13, B24: one fetch, and one only after the next cool-down."""
    async with node_with() as node:
        await asyncio.gather(
            *(node.keyring.asked("login", f"x{n}") for n in range(1000))
        )
        assert len(node.endpoint.calls) == 2
        await node.time.pass_by(29)
        await asyncio.gather(
            *(node.keyring.asked("login", f"y{n}") for n in range(1000))
        )
        assert len(node.endpoint.calls) == 2
        await node.time.pass_by(1)
        await asyncio.gather(
            *(node.keyring.asked("login", f"z{n}") for n in range(1000))
        )
        assert len(node.endpoint.calls) == 3
        assert node.endpoint.most_running == 1


async def test_known_kid_is_answered_at_once_while_a_miss_is_looked_for():
    """Misses never delay a kid that is in the set."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        miss = asyncio.create_task(node.keyring.asked("login", "bogus"))
        await settle()
        await asyncio.wait_for(node.keyring.asked("login", "a"), 1)
        assert not miss.done()
        node.endpoint.let_go.set()
        await miss


async def test_asked_returns_with_the_new_key_published():
    """A key that the issuer signs with before we saw it works within one fetch."""
    async with node_with() as node:
        node.endpoint.say = key_set(A, B)
        await node.keyring.asked("login", "b")
        assert node.kids() == {"a", "b"}


async def test_asked_fetches_again_when_the_flight_it_joined_began_before_it():
    """A scheduled fetch that was under way may have missed the new key."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        await node.time.pass_by(481)
        asked = asyncio.create_task(node.keyring.asked("login", "b"))
        await settle()
        node.endpoint.say = lambda _: key_set(*([A, B][: len(node.endpoint.calls) - 1]))
        node.endpoint.let_go.set()
        await asked
        assert len(node.endpoint.calls) == 3
        assert node.kids() == {"a", "b"}


async def test_known_kid_with_bad_signature_refetches_under_the_same_cool_down():
    """Same-kid re-key: a changed key replaces the old one."""
    changed = ec_pair().jwk(kid="a")
    async with node_with() as node:
        node.endpoint.say = key_set(changed)
        await node.keyring.asked("login", None)
        assert [jwk["x"] for jwk in node.published().jwks] == [changed["x"]]
        await node.keyring.asked("login", None)
        await node.keyring.asked("login", "bogus")
        assert len(node.endpoint.calls) == 2


async def test_cancelled_question_does_not_cancel_the_flight():
    """The client that asked first may go away; the others still wait."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        node.endpoint.say = key_set(A, B)
        first = asyncio.create_task(node.keyring.asked("login", "b"))
        await settle()
        second = asyncio.create_task(node.keyring.asked("login", "b"))
        await settle()
        first.cancel()
        await settle()
        node.endpoint.let_go.set()
        await second
        assert node.kids() == {"a", "b"}
        assert len(node.endpoint.calls) == 2


async def test_question_about_unknown_alias_returns():
    """A worker on another configuration asks for nothing that is fetched."""
    async with node_with() as node:
        await node.keyring.asked("nobody", "x")
        assert len(node.endpoint.calls) == 1


async def test_failing_issuer_keeps_keys_and_raises_exactly_its_own_alarm():
    """I2, S1.7: broken keys of one issuer are one alarm, cleared when it heals."""
    async with node_with(LOGIN, OTHER) as node:
        good = key_set(A)
        node.endpoint.say = lambda url: (
            good if url == OTHER.jwks_url else answer(status=500)
        )
        await node.time.pass_by(500)
        assert node.alarms.holding == {("jwks_unavailable", "login")}
        assert node.kids("login") == {"a"}
        assert node.published("login").last_fetch_ok is False
        assert node.published("other").last_fetch_ok is True
        node.endpoint.say = good
        await node.time.pass_by(120)
        assert node.alarms.holding == set()


async def test_hanging_issuer_delays_no_other():
    """B25: issuers cannot hurt each other."""
    async with node_with(LOGIN, OTHER) as node:
        hang = asyncio.Event()

        async def fetch(method, url, **rest):
            node.endpoint.calls.append((method, url, {}, None))
            if url == LOGIN.jwks_url:
                await hang.wait()
            return key_set(B)

        node.endpoint.fetch = fetch
        await node.time.pass_by(10_000)
        assert node.kids("other") >= {"b"}
        assert [url for _, url, _, _ in node.endpoint.calls].count(OTHER.jwks_url) > 15


@pytest.mark.parametrize("trouble", [ControlError("timed_out"), RuntimeError("bug")])
async def test_fetch_that_raises_counts_as_failed_fetch(trouble):
    """Whatever goes wrong in a fetch, the keys stay and the task goes on."""
    async with node_with() as node:
        node.endpoint.say = trouble
        await node.time.pass_by(500)
        assert node.kids() == {"a"}
        assert node.alarms.names() == {"jwks_unavailable"}
        assert node.status()["last_error"] in {"timed_out", "internal"}
        node.endpoint.say = key_set(A, B)
        await node.time.pass_by(60)
        assert node.kids() == {"a", "b"}


async def test_key_leaves_within_a_minute_of_the_first_fetch_without_it():
    """The second fetch comes after a cool-down, not a whole life later: I5."""
    async with node_with(say=key_set(A, B)) as node:
        node.endpoint.say = key_set(B)
        await node.time.pass_by(481)
        assert node.kids() == {"a", "b"}
        assert node.status()["keys"][0]["state"] == "leaving"
        await node.time.pass_by(31)
        assert node.kids() == {"b"}


async def test_discovery_is_fetched_first_and_names_the_keys():
    """Keys by discovery need nothing but the issuer."""
    source = KeySource("login", LOGIN.issuer, None, "https://login.example.com/m")
    say = {source.metadata_url: answer(METADATA), "https://k.example.com/j": key_set(A)}
    async with node_with(source, say=say.__getitem__) as node:
        assert [url for _, url, _, _ in node.endpoint.calls] == list(say)
        assert node.kids() == {"a"}
        await asyncio.gather(
            *(node.keyring.asked("login", f"x{n}") for n in range(100))
        )
        urls = [url for _, url, _, _ in node.endpoint.calls]
        assert urls.count(source.metadata_url) == 1
        assert urls.count("https://k.example.com/j") == 2


async def test_refresh_waits_for_a_fetch_that_began_after_it():
    """The operator who just rotated wants to hear of the new key."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        await node.time.pass_by(481)
        refreshed = asyncio.create_task(node.keyring.refresh("login", wait=True))
        await settle()
        node.endpoint.say = key_set(A, B)
        node.endpoint.let_go.set()
        assert await refreshed == {
            "login": {"ok": True, "error": None, "kids": ["a", "b"]}
        }
        assert len(node.endpoint.calls) == 3


async def test_refresh_without_wait_returns_before_the_fetch():
    """The fetch is under way; what is known so far is returned."""
    async with node_with() as node:
        node.endpoint.let_go.clear()
        said = await node.keyring.refresh()
        assert said["login"]["kids"] == ["a"]
        await settle()
        assert len(node.endpoint.calls) == 2


async def test_refresh_of_unknown_alias_is_refused():
    """A typing mistake of the operator is named."""
    async with node_with() as node:
        with pytest.raises(ValueError, match="no issuer"):
            await node.keyring.refresh("nobody")


async def test_publish_that_fails_is_an_alarm_and_the_keyring_goes_on():
    """The workers keep what they have; the next document may fit again."""
    node = node_with()
    full = True

    def publish(document):
        if full:
            raise ControlError("too large")
        node.documents.append(document)

    node.keyring._publish_document = publish
    async with node:
        assert node.alarms.holding == {("keys_not_published", "workers")}
        full = False
        await node.time.pass_by(481)
        assert node.alarms.holding == set()
        assert node.kids() == {"a"}


async def test_status_shows_keys_ages_and_the_next_refresh():
    """What `fastgate keys` prints."""
    async with node_with() as node:
        await node.time.pass_by(80)
        shown = node.status()
        assert shown["ready"] is True
        assert shown["source"] == "issuer"
        assert shown["age_s"] == 80
        assert shown["next_refresh_s"] == 400
        assert shown["alarms"] == []
        (key,) = shown["keys"]
        assert key["kid"] == "a"
        assert key["state"] == "current"
        assert key["algorithms"] == ["ES256"]
        assert key["last_seen"] == int(node.time.wall_s() - 80)


async def test_stopped_keyring_starts_no_more_fetches():
    """After stop nothing is left running."""
    async with node_with() as node:
        await node.keyring.stop()
        await node.keyring.asked("login", "bogus")
        assert len(node.endpoint.calls) == 1
        assert node.endpoint.running == 0


async def test_pause_returns_when_woken_and_when_time_is_up():
    """The real timer of the keyring."""
    wake = asyncio.Event()
    await pause(wake, 0.0)
    wake.set()
    await asyncio.wait_for(pause(wake, 3600.0), 5)


async def test_keys_in_use_are_named_with_their_issuer():
    """An entry against one of them is renewed for as long as it is listed."""
    async with Node(say=key_set(A)) as node:
        assert node.keyring.named() == [(LOGIN.issuer, A["kid"])]
