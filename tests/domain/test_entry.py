"""Entries: what may be asked, and the event that it makes."""

from dataclasses import replace

import pytest

from fastgate.domain.entry import (
    Entry,
    EntryError,
    Lifetimes,
    lengthened,
    make_event,
)
from fastgate.domain.event import Event
from fastgate.domain.revocation import EVERYTHING, Kind

LIVES = Lifetimes(max_token_s=3_600, max_session_s=43_200, leeway_s=30)
NOW = 1_700_000_000.75


def entry(kind: Kind = Kind.SID, **members: object) -> Entry:
    known = {"issuer": "https://id", "issuer_alias": "login", "value": "s-1"}
    return Entry(kind=kind, **(known | members))


def made(asked: Entry) -> Event:
    return make_event(
        asked,
        id_="id-1",
        key=bytes(16),
        key_id="00000000",
        origin="eu",
        hand=(),
        now=NOW,
        lifetimes=LIVES,
    )


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"value": ""}, "value"),
        ({"value": "x" * 1_025}, "value"),
        ({"value": "\ud800"}, "value"),
        ({"issuer": ""}, "issuer"),
        ({"reason": "r" * 129}, "reason"),
        ({"reason": "a\nb"}, "reason"),
        ({"issued_before": 5.0}, "issued_before"),
        ({"kind": Kind.SUB, "issued_before": -1.0}, "issued_before"),
        ({"kind": Kind.SUB, "issued_before": float("nan")}, "issued_before"),
        ({"expires_in": 0}, "expires_in"),
        ({"kind": Kind.ISSUER, "value": "https://other"}, "value"),
    ],
)
def test_entry_names_the_member_when_it_is_refused(members, field):
    """A request is refused with the name of what is wrong in it."""
    with pytest.raises(EntryError) as caught:
        entry(**members)
    assert caught.value.field == field


@pytest.mark.parametrize("kind", [Kind.JTI, Kind.SID, Kind.GRANT, Kind.KID])
def test_cutoff_is_everything_when_an_identifier_is_revoked(kind):
    """A session that is over is over for tokens issued later too."""
    assert made(entry(kind)).cutoff == EVERYTHING


def test_cutoff_gets_the_leeway_when_it_is_our_clock():
    """A token issued in the second before may carry an `iat` that is ahead of us."""
    assert made(entry(Kind.SUB)).cutoff == 1_700_000_030


def test_cutoff_is_used_as_it_is_when_the_issuer_gave_it():
    """The issuer's own clock also wrote the `iat`."""
    assert made(entry(Kind.SUB, issued_before=1_699_999_000.9)).cutoff == 1_699_999_000


def test_cutoff_is_refused_when_it_lies_in_the_future():
    """Nobody may lock a user out for years by mistake."""
    with pytest.raises(EntryError, match="future"):
        made(entry(Kind.SUB, issued_before=NOW + 1_000))


@pytest.mark.parametrize("kind", [Kind.JTI, Kind.SUB, Kind.CLIENT, Kind.ISSUER])
def test_event_outlives_the_last_token_when_tokens_are_named(kind):
    """The last `exp` it can touch, 60 s, and the skew."""
    value = "https://id" if kind is Kind.ISSUER else "v"
    event = made(entry(kind, value=value))
    last_issued = max(NOW, event.cutoff if event.cutoff != EVERYTHING else 0)
    assert event.expires >= last_issued + LIVES.max_token_s + 62
    assert event.expires <= last_issued + LIVES.max_token_s + 62 + LIVES.leeway_s + 1


@pytest.mark.parametrize("kind", [Kind.SID, Kind.GRANT, Kind.KID])
def test_event_outlives_the_session_when_tokens_are_still_issued(kind):
    """A session's entry also covers tokens that the session has yet to get."""
    assert made(entry(kind)).expires > NOW + LIVES.max_session_s + LIVES.max_token_s


def test_expires_in_lengthens_and_never_shortens():
    """A request cannot make a revoked token live again."""
    plain = made(entry(Kind.JTI)).expires
    assert made(entry(Kind.JTI, expires_in=5)).expires == plain
    assert made(entry(Kind.JTI, expires_in=9_000)).expires == 1_700_009_001


def test_expires_in_is_refused_when_the_stream_would_not_keep_it():
    """What the stream drops earlier would be forgotten by a new node."""
    with pytest.raises(EntryError, match="at most"):
        made(entry(Kind.JTI, expires_in=LIVES.longest_s + 1))


@pytest.mark.parametrize("kind", list(Kind))
def test_event_is_lengthened_when_tokens_may_live_longer(kind):
    """Otherwise the longest of them would outlive their revocation."""
    value = "https://id" if kind is Kind.ISSUER else "v"
    event = made(entry(kind, value=value))
    longer = replace(LIVES, max_token_s=7_200)
    again = lengthened(event, longer)
    assert again is not None
    assert 3_599 <= again.expires - event.expires <= 3_600
    assert again.id != event.id
    assert (again.key, again.cutoff) == (event.key, event.cutoff)
    assert again == lengthened(event, longer)
    assert lengthened(again, longer) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_event_is_left_when_it_lives_long_enough(kind):
    """A start publishes nothing anew, and shorter lives shorten nothing."""
    value = "https://id" if kind is Kind.ISSUER else "v"
    event = made(entry(kind, value=value))
    assert lengthened(event, LIVES) is None
    assert lengthened(event, replace(LIVES, max_token_s=60)) is None


def test_handed_event_is_lengthened_without_handing_it_again():
    """The homes have it, and see to theirs."""
    event = replace(made(entry()), hand=("us",))
    again = lengthened(event, replace(LIVES, max_token_s=7_200))
    assert again is not None
    assert again.hand == ()
