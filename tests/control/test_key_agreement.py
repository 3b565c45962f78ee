"""Which hash key is the right one, told from what everybody's markers name."""

from dataclasses import replace

import pytest
from tests.control.test_markers import EVENT

from fastgate.control.key_agreement import KeyAgreement
from fastgate.domain.marker import Marker
from fastgate.errors import ControlError

NOW = 1_700_000_000.0
MINE, OLD, OTHER = "aaaaaaaa", "bbbbbbbb", "cccccccc"
BOOT = "00" * 8


class World:
    def __init__(self) -> None:
        self.blind = False
        self.now = NOW
        self.keys = KeyAgreement(
            boot=BOOT,
            key_id=MINE,
            known_keys={MINE, OLD},
            blind=lambda: self.blind,
            wall_s=lambda: self.now,
        )

    def hear(self, origin, key_id, *, sure=True, boot="11" * 8, at=NOW):
        marker = Marker(
            origin=origin,
            writer=f"gw-{origin}-1",
            boot=boot,
            as_of=0,
            wall=at,
            marks={},
            echo={},
            max_token_lifetime=0,
            roster=(),
            hash_key=key_id,
            agreed=sure,
        )
        self.keys.heard(marker)


@pytest.fixture
def world():
    return World()


def test_node_that_hears_nobody_is_not_in_doubt(world):
    """The first one of all has nobody to agree with."""
    world.keys.check()
    assert not world.keys.in_doubt


def test_node_is_in_doubt_where_others_use_a_key_that_it_does_not_know(world):
    """Whatever it entered would be a gap for everybody."""
    world.hear("us", OTHER)
    with pytest.raises(ControlError, match="hash_key"):
        world.keys.check()
    assert world.keys.contradicting() == ("us",)


def test_key_of_a_rotation_is_no_contradiction(world):
    """Another key than ours for new entries, and one that is looked up here."""
    world.hear("us", OLD)
    assert not world.keys.in_doubt
    assert world.keys.contradicting() == ()


def test_own_word_of_an_earlier_start_counts(world):
    """Nobody else is heard behind a cut, and the stream still has what we said."""
    world.hear("eu", OTHER)
    assert world.keys.in_doubt


def test_own_word_of_this_start_proves_nothing(world):
    """It would agree with itself."""
    world.hear("eu", MINE, boot=BOOT)
    world.hear("us", OTHER)
    assert world.keys.in_doubt


def test_node_that_was_complete_with_everybody_is_not_put_off_by_a_later_one(world):
    """One gateway with a wrong key must not keep the others from revoking."""
    world.hear("us", MINE)
    world.keys.proven()
    world.hear("ap", OTHER)
    world.hear("us", OTHER)
    world.blind = True
    world.keys.check()
    assert world.keys.contradicting() == ("ap", "us")


def test_proof_in_doubt_is_no_agreement(world):
    """Complete with nothing revoked says nothing about the key."""
    world.hear("us", OTHER)
    world.keys.proven()
    assert not world.keys.agreed
    assert world.keys.in_doubt


def test_words_of_the_sure_go_before_those_of_the_others(world):
    """A gateway that is in doubt itself, or new, is no witness against another."""
    world.hear("us", MINE)
    for origin in ("ap", "eu"):
        world.hear(origin, OTHER, sure=False)
    assert not world.keys.in_doubt


def test_word_is_sure_for_as_long_as_a_stream_keeps_markers(world):
    """Then the key may be replaced everywhere at once."""
    world.hear("us", OTHER)
    world.now += 599
    assert world.keys.in_doubt
    world.now += 2
    assert not world.keys.in_doubt
    assert world.keys.contradicting() == ()


def test_word_of_a_clock_that_is_ahead_does_not_last_longer(world):
    """The wall time of another gateway is its own."""
    world.hear("us", OTHER, at=NOW + 10**6)
    world.now += 601
    assert not world.keys.in_doubt


@pytest.mark.parametrize(
    ("good", "bad", "doubt"),
    [(0, 1, True), (1, 1, False), (1, 2, True), (2, 1, False)],
)
def test_greater_number_decides_where_nobody_is_sure(world, good, bad, doubt):
    """This node counts, too."""
    for number in range(good + bad):
        world.hear(f"r{number}", MINE if number < good else OTHER, sure=False)
    assert world.keys.in_doubt is doubt


def test_live_events_under_an_unknown_key_are_a_contradiction_of_their_own(world):
    """Markers are gone sooner than events."""
    world.blind = True
    assert world.keys.in_doubt
    world.hear("us", MINE, sure=False)
    assert not world.keys.in_doubt


def test_contradiction_ends_with_the_next_word_of_that_origin(world):
    """An alarm names what is wrong now."""
    world.hear("us", OTHER, at=NOW - 5)
    world.hear("us", MINE, sure=False, at=NOW)
    assert world.keys.contradicting() == ()


def test_event_under_a_key_that_is_gone_is_not_published(world):
    """It waits in the journal: nobody was told that it is published."""
    assert EVENT.key_id not in {MINE, OLD}
    assert not world.keys.may_be_said(EVENT)
    assert world.keys.may_be_said(replace(EVENT, key_id=OLD))
    world.hear("us", OTHER)
    assert not world.keys.may_be_said(replace(EVENT, key_id=MINE))
