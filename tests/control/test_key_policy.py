"""Key policy: a day of an issuer's moods, without a clock and without a network."""

import random

import pytest
from tests.jwk_makers import ec_pair
from tests.key_fakes import answer, key_set, steady

from fastgate.control.key_policy import (
    BARE_RETRY_S,
    CONFIRM_AFTER_S,
    COOL_DOWN_S,
    EMPTY_KEPT_S,
    Job,
    KeyPolicy,
    KeySource,
)

SOURCE = KeySource(
    "login", "https://login.example.com", "https://login.example.com/jwks"
)
DAY_S = 86_400.0
A, B = ec_pair().jwk(kid="a"), ec_pair().jwk(kid="b")


def policy(source=SOURCE, now_s=0.0, rng=None):
    return KeyPolicy(source, rng or steady(), now_s)


def fed(*answers, source=SOURCE):
    """Return a policy that got these answers at 0, 1, 2... seconds."""
    made = policy(source)
    for now_s, said in enumerate(answers):
        made.keys_answered(said, float(now_s))
    return made


def kids(made):
    return {key.jwk.kid for key in made.held}


def test_first_fetch_is_due_at_once():
    """A gateway without keys has nothing better to do."""
    assert policy(now_s=5.0).due(5.0) is Job.KEYS


@pytest.mark.parametrize(
    ("headers", "life_s"),
    [
        ({}, 600),
        ({"cache_control": "max-age=900"}, 900),
        ({"cache_control": 'public, Max-Age="900"'}, 900),
        ({"cache_control": "max-age=1200, max-age=900"}, 900),
        ({"cache_control": "max-age=1000", "age": "100"}, 900),
        ({"cache_control": "max-age=1"}, 300),
        ({"cache_control": "max-age=0"}, 300),
        ({"cache_control": "max-age=999999"}, 1800),
        ({"cache_control": "no-store"}, 300),
        ({"cache_control": "no-cache, max-age=1800"}, 300),
        ({"cache_control": "max-age=-1"}, 300),
        ({"cache_control": "max-age=+900"}, 300),
        ({"cache_control": "max-age=9_00"}, 300),
        ({"cache_control": "max-age=nan"}, 300),
        ({"cache_control": "max-age=" + "9" * 5000}, 300),
        ({"cache_control": "s-maxage=900, private"}, 600),
    ],
    ids=lambda value: str(value)[:40],
)
def test_refresh_is_due_at_80_percent_of_the_life_the_issuer_gives(headers, life_s):
    """Cache-Control is honoured between 5 and 30 minutes, else 10 minutes."""
    made = policy()
    made.keys_answered(key_set(A, **headers), 0.0)
    assert made.next_due_s() == pytest.approx(0.8 * life_s)


def test_refreshes_of_gateways_that_start_together_spread():
    """Jitter takes up to a tenth off, never adds."""
    times = set()
    for seed in range(50):
        made = policy(rng=random.Random(seed))
        made.keys_answered(key_set(A), 0.0)
        times.add(made.next_due_s())
    assert len(times) == 50
    assert 432 <= min(times) < max(times) <= 480


@pytest.mark.parametrize(
    ("configured_s", "life_s"), [(1, 300), (900, 900), (1e9, 1800)]
)
def test_configured_life_is_kept_within_bounds(configured_s, life_s):
    """A configured life below 5 minutes is raised, above 30 lowered."""
    source = KeySource("a", "i", "http://127.0.0.1/", lifetime_s=configured_s)
    made = policy(source)
    made.keys_answered(key_set(A), 0.0)
    assert made.next_due_s() == pytest.approx(0.8 * life_s)


def test_etag_is_sent_and_not_modified_renews_the_keys():
    """A 304 is a successful fetch of the same document."""
    made = fed(key_set(A, etag='"v1"'))
    assert made.request_headers()["if-none-match"] == '"v1"'
    made.keys_answered(answer(status=304, cache_control="max-age=900"), DAY_S - 1)
    assert made.last_fetch_ok
    assert made.next_due_s() == pytest.approx(DAY_S - 1 + 720)
    made.tick(DAY_S + 10)
    assert kids(made) == {"a"}


@pytest.mark.parametrize("etag", ["v1", '"a\r\nx: y"', '"' + "v" * 300 + '"', "*", ""])
def test_etag_that_is_none_is_not_sent(etag):
    """What the issuer sends never becomes a header of ours unchecked."""
    assert "if-none-match" not in fed(key_set(A, etag=etag)).request_headers()


def test_not_modified_counts_as_failure_when_nothing_was_conditional():
    """A 304 to a plain GET says nothing about any keys."""
    made = fed(key_set(A), answer(status=304))
    assert made.last_error == "status_304"
    assert kids(made) == {"a"}


def test_etag_of_refused_document_is_not_sent():
    """Else the next fetch would be 304 and make garbage look confirmed."""
    made = fed(key_set(A, etag='"good"'), answer(b"garbage", etag='"bad"'))
    assert "if-none-match" not in made.request_headers()


BAD = {
    "status_500": answer(b"", status=500),
    "status_404": answer(b"", status=404),
    "status_204": answer(b"", status=204),
    "status_206": key_set(B, status=206),
    "status_302": answer(b"", status=302, location="https://evil.example/"),
    "no_json": answer(b"<html>"),
    "wrong_type": key_set(B, content_type="text/html; charset=utf-8"),
    "no_keys_member": answer(b'{"error":"x"}'),
    "no_usable_key": key_set({"kty": "oct", "k": "AAAA", "kid": "a"}),
    "too_many_keys": key_set(*[B] * 65),
}


@pytest.mark.parametrize("code", BAD)
def test_bad_answer_keeps_last_good_keys_with_alarm(code):
    """I2, I3: nothing that is not a whole good set replaces, empties or adds a key."""
    made = fed(key_set(A), BAD[code])
    assert kids(made) == {"a"}
    assert made.last_error == code
    assert made.last_fetch_ok is False
    assert made.alarms() == {"jwks_unavailable"}


@pytest.mark.parametrize(
    "media",
    ["application/jwk-set+json", "application/json; charset=utf-8", "text/plain", ""],
)
def test_key_set_is_read_under_the_types_that_servers_use(media):
    """A file on a plain web server is a key set too."""
    assert kids(fed(key_set(A, content_type=media))) == {"a"}


def test_failed_fetches_keep_keys_for_24_hours_and_no_longer():
    """I2: an issuer's bad day logs nobody out; the day after is the operator's turn."""
    made = fed(key_set(A))
    now_s = 0.0
    while now_s < DAY_S - 100:
        now_s = made.next_due_s()
        made.keys_failed("connection_failed", now_s)
        assert made.tick(now_s) is False
    assert kids(made) == {"a"}
    assert made.tick(DAY_S) is True
    assert kids(made) == set()
    assert made.alarms() == {"jwks_unavailable"}


def test_failing_issuer_is_asked_at_most_every_30_seconds_while_keys_are_held():
    """F15: at most one fetch in 30 s."""
    made = fed(key_set(A))
    now_s = made.next_due_s()
    for _ in range(50):
        made.keys_failed("timed_out", now_s)
        assert 30 <= made.next_due_s() - now_s <= 66
        now_s = made.next_due_s()


def test_issuer_that_is_down_at_start_is_retried_quickly_then_patiently():
    """B25: quick retries at start, bounded."""
    made, now_s, delays = policy(), 0.0, []
    for _ in range(8):
        made.keys_failed("connection_failed", now_s)
        delays.append(made.next_due_s() - now_s)
        now_s = made.next_due_s()
    assert delays == [BARE_RETRY_S, 2, 4, 8, 16, 30, 30, 30]


def test_success_clears_alarm_and_error():
    """The alarm holds as long as its cause."""
    made = fed(key_set(A), answer(status=500), key_set(A))
    assert made.alarms() == frozenset()
    assert made.last_error is None
    assert made.last_fetch_ok


def test_new_key_is_added_at_once():
    """Rotation: publish, then sign; nothing waits for anything."""
    assert kids(fed(key_set(A), key_set(A, B))) == {"a", "b"}


def test_key_leaves_after_two_fetches_without_it():
    """One lagging node of the issuer takes no key away."""
    made = fed(key_set(A, B), key_set(B))
    assert kids(made) == {"a", "b"}
    assert made.next_due_s() == pytest.approx(1 + CONFIRM_AFTER_S)
    made.keys_answered(key_set(B), 31.0)
    assert kids(made) == {"b"}


def test_key_stays_when_the_second_fetch_lists_it_again():
    """The count is of fetches in a row."""
    made = fed(key_set(A, B), key_set(B), key_set(A, B), key_set(B))
    assert kids(made) == {"a", "b"}


def test_key_stays_when_the_second_fetch_fails():
    """Only successful fetches agree."""
    made = fed(key_set(A, B), key_set(B), answer(status=500), answer(b"x"))
    assert kids(made) == {"a", "b"}


def test_not_modified_agrees_that_a_key_is_gone():
    """304 says: still the document without it."""
    made = fed(key_set(A, B), key_set(B, etag='"2"'), answer(status=304))
    assert kids(made) == {"b"}


def test_key_of_same_kid_replaces_the_old_one_at_once():
    """I6: reuse of a kid replaces; both in place would keep the old one trusted."""
    other = ec_pair().jwk(kid="a")
    made = fed(key_set(A), key_set(other))
    assert [key.jwk.members()["x"] for key in made.held] == [other["x"]]


def test_key_whose_kid_becomes_doubled_stays():
    """The issuer's slip says nothing about the key that was good before."""
    made = fed(
        key_set(A, B), *[key_set(ec_pair().jwk(kid="a"), ec_pair().jwk(kid="a"), B)] * 3
    )
    assert kids(made) == {"a", "b"}
    assert made.alarms() == {"jwks_keys_refused"}
    made.keys_answered(key_set(B), DAY_S - 1)
    made.tick(DAY_S)
    assert kids(made) == {"b"}


def test_disclosed_key_leaves_like_one_that_is_gone():
    """A private key in the set signs for everybody."""
    pair = ec_pair()
    leaked = {**pair.jwk(kid="p"), "d": "AAAA"}
    made = fed(key_set(pair.jwk(kid="p"), B), key_set(leaked, B), key_set(leaked, B))
    assert kids(made) == {"b"}
    assert made.alarms() == {"jwks_keys_refused"}


def test_alarm_tells_keys_for_other_purposes_from_broken_ones():
    """An encryption key in the set is no emergency."""
    made = fed(key_set(A, ec_pair().jwk(kid="e", use="enc")))
    assert made.alarms() == {"jwks_keys_unusable"}


def test_empty_set_keeps_last_good_for_ten_minutes_then_is_honoured():
    """I4: keep, alarm, then believe it."""
    made = fed(key_set(A), key_set())
    assert kids(made) == {"a"}
    assert made.alarms() == {"jwks_empty"}
    assert made.last_fetch_ok is False
    now_s = 1.0
    while made.next_due_s() < 1 + EMPTY_KEPT_S:
        now_s = made.next_due_s()
        made.keys_answered(key_set(), now_s)
        assert kids(made) == {"a"}
    made.keys_answered(key_set(), made.next_due_s())
    assert kids(made) == set()
    assert made.last_fetch_ok is True
    assert now_s > EMPTY_KEPT_S - 70


def test_empty_set_is_forgotten_when_keys_come_back():
    """Ten minutes count from the first empty answer in a row."""
    made = policy()
    made.keys_answered(key_set(A), 0.0)
    made.keys_answered(key_set(), 100.0)
    made.keys_answered(key_set(A), 600.0)
    made.keys_answered(key_set(), 650.0)
    made.keys_answered(key_set(), 720.0)
    assert kids(made) == {"a"}


def test_cool_down_is_claimed_before_the_fetch_and_kept_when_it_fails():
    """T13: a thousand bogus kids cause one fetch, whatever comes of it."""
    made = fed(key_set(A))
    assert made.claim_miss(10.0) is True
    assert [made.claim_miss(10.0) for _ in range(999)] == [False] * 999
    made.keys_failed("timed_out", 12.0)
    assert made.claim_miss(10.0 + COOL_DOWN_S - 0.001) is False
    assert made.claim_miss(10.0 + COOL_DOWN_S) is True


def test_cool_down_counts_misses_only():
    """Scheduled refreshes neither claim it nor wait for it."""
    made = fed(key_set(A))
    due_s = made.next_due_s()
    assert made.claim_miss(due_s - 1) is True
    assert made.due(due_s) is Job.KEYS
    other = fed(key_set(A))
    other.keys_answered(key_set(A), 480.0)
    assert other.claim_miss(480.0) is True


def test_hostile_set_grows_held_keys_no_further_than_two_documents():
    """64 new keys with every fetch stay bounded."""
    made = policy()
    for round_ in range(5):
        fresh = [{**A, "kid": f"{round_}-{n}"} for n in range(64)]
        made.keys_answered(key_set(*fresh), float(round_))
    assert len(made.held) == 128


@pytest.mark.parametrize("code", BAD)
def test_cve_2026_31837_failed_first_fetch_leaves_no_key_at_all(code):
    """Nothing built in, nothing from a header: no keys are no keys, and an alarm."""
    made = fed(BAD[code])
    assert kids(made) == set()
    assert made.last_fetch_ok is False
    assert made.alarms() == {"jwks_unavailable"}
