"""Status lists at the gate: only VALID passes, and only by a list that is fresh."""

import pytest
from tests.hotpath.gates import SECOND_NS, World, claims_answer, jwt, outcome

from fastgate.domain.route import OnStale

URI = "https://lists.example.com/1"
# Two bits each, the first entry lowest: valid, invalid, suspended, the application's.
RAW = bytes([0b11_10_01_00])


def listed(index: int = 0, uri: str = URI) -> bytes:
    """Return a token with an entry of a status list."""
    return jwt(status={"status_list": {"idx": index, "uri": uri}})


@pytest.fixture(autouse=True)
def _enabled(world: World) -> None:
    world.use_profile(status_lists=True)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (0, "allow"),
        (1, "revoked"),
        (2, "suspended"),
        (3, "suspended"),
        (4, "no_status"),
        (2**53 - 1, "no_status"),
    ],
)
def test_only_a_valid_entry_passes(world: World, index: int, expected: str) -> None:
    world.publish_list(URI, RAW, bits=2)
    assert outcome(world.ask(listed(index))) == expected


def test_entry_counts_on_every_request_of_a_token_seen_before(world: World) -> None:
    """What is cached are facts about a signature."""
    token = listed(0)
    world.publish_list(URI, b"\x00", bits=1)
    assert outcome(world.ask(token)) == "allow"
    world.publish_list(URI, b"\x01", bits=1)
    decision = world.ask(token)
    assert (outcome(decision), decision.cache) == ("revoked", "hit")
    world.publish_list(URI, b"\x00", bits=1)
    assert outcome(world.ask(token)) == "allow"


def test_token_without_an_entry_needs_no_list(world: World) -> None:
    assert outcome(world.ask(jwt())) == "allow"


def test_entry_means_nothing_where_lists_are_not_enabled(world: World) -> None:
    world.use_profile(status_lists=False)
    assert outcome(world.ask(listed())) == "allow"


def test_list_that_was_never_had_is_stale(world: World) -> None:
    assert outcome(world.ask(listed())) == "stale_revocation"


def test_list_is_relied_upon_until_its_time_and_no_longer(world: World) -> None:
    world.publish_list(URI, b"\x00", fresh_s=7)
    world.boot_ns += 7 * SECOND_NS - 1
    assert outcome(world.ask(listed())) == "allow"
    world.boot_ns += 1
    assert outcome(world.ask(listed())) == "stale_revocation"


def test_stale_list_is_allowed_for_the_written_time(world: World) -> None:
    world.use_route(on_stale=OnStale.ALLOW, allow_for_ns=100 * SECOND_NS)
    world.publish_list(URI, b"\x02", bits=1, fresh_s=7)
    world.boot_ns += 107 * SECOND_NS - 1
    assert outcome(world.ask(listed(0))) == "allow"
    assert outcome(world.ask(listed(1))) == "revoked"
    world.boot_ns += 1
    world.hear_from()
    assert outcome(world.ask(listed(0))) == "stale_revocation"
    assert outcome(world.ask(listed(0, "https://never/had"))) == "stale_revocation"


def test_issuer_is_asked_about_a_token_whose_list_is_stale(world: World) -> None:
    world.use_route(on_stale=OnStale.INTROSPECT)
    decision = world.ask(listed())
    assert outcome(decision) == "ask_introspection"
    assert decision.stale_question is True
    answer = claims_answer(b"{}", asked_boot_ns=world.boot_ns)
    assert outcome(world.told(listed(), answer)) == "allow"


def test_list_of_another_issuer_says_nothing(world: World) -> None:
    """The name has the issuer in it, whose key signed the list."""
    world.statuses.put(
        f"other\n{URI}", b"\x00", 1, until_ns=world.boot_ns * 2, now_ns=world.boot_ns
    )
    assert outcome(world.ask(listed())) == "stale_revocation"


def test_status_does_not_help_a_token_that_has_expired(world: World) -> None:
    """The token's own checks come first."""
    world.publish_list(URI, b"\x00", fresh_s=4000)
    token = listed()
    assert outcome(world.ask(token)) == "allow"
    world.let_pass(310)
    world.hear_from()
    assert outcome(world.ask(token)) == "expired"


def test_explanation_names_the_list(world: World) -> None:
    world.publish_list(URI, RAW, bits=2)
    trace: list[tuple[str, str]] = []
    world.ask(listed(2), trace=trace)
    assert ("status list", "suspended") in trace
