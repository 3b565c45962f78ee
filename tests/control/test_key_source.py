"""Key policy: where the keys are, and what a restart or a reload makes of them."""

import pytest
from tests.jwk_makers import ec_pair
from tests.key_fakes import answer, key_set, steady

from fastgate.control.key_policy import (
    BARE_RETRY_S,
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


def policy(source=SOURCE, now_s=0.0):
    return KeyPolicy(source, steady(), now_s)


def fed(*answers, source=SOURCE):
    """Return a policy that got these answers at 0, 1, 2... seconds."""
    made = policy(source)
    for now_s, said in enumerate(answers):
        made.keys_answered(said, float(now_s))
    return made


def kids(made):
    return {key.jwk.kid for key in made.held}


FOUND = KeySource(
    "login", "https://login.example.com", None, "https://login.example.com/m"
)
METADATA = (
    b'{"issuer":"https://login.example.com","jwks_uri":"https://keys.example.net/set"}'
)


def test_discovery_comes_first_and_names_the_key_url():
    """OpenID discovery: the issuer says where its keys are."""
    made = policy(FOUND)
    assert made.due(0.0) is Job.METADATA
    made.metadata_answered(answer(METADATA), 0.0)
    assert made.jwks_url == "https://keys.example.net/set"
    assert made.due(0.0) is Job.KEYS


def test_discovery_has_its_own_timer_and_a_miss_never_starts_it():
    """PROTOCOLS 11: never fetched because of an unknown kid."""
    made = policy(FOUND)
    assert made.claim_miss(0.0) is False
    made.metadata_answered(answer(METADATA, cache_control="max-age=7200"), 0.0)
    made.keys_answered(key_set(A), 0.0)
    assert made.claim_miss(1.0) is True
    assert made.due(1.0) is None
    made.keys_answered(key_set(A), 5_700.0)
    assert made.due(5_759.0) is None
    assert made.due(5_760.0) is Job.METADATA


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (answer(METADATA.replace(b".com", b".com/")), "metadata_wrong_issuer"),
        (answer(b'{"jwks_uri":"https://x/"}'), "metadata_wrong_issuer"),
        (answer(METADATA, status=503), "metadata_status_503"),
        (answer(b"<html>"), "metadata_no_json"),
        (
            answer(METADATA.replace(b"https://k", b"http://k")),
            "metadata_jwks_uri_not_https",
        ),
        (answer(METADATA.replace(b"https://k", b"file://k")), "metadata_bad_jwks_uri"),
        (answer(METADATA.replace(b"keys.", b"a@keys.")), "metadata_bad_jwks_uri"),
        (answer(METADATA.replace(b"/set", b"/s\\r\\net")), "metadata_bad_jwks_uri"),
        (answer(METADATA.replace(b"keys.example.net", b"")), "metadata_bad_jwks_uri"),
        (answer(METADATA.replace(b"net/set", b"net:99999/")), "metadata_bad_jwks_uri"),
        (answer(b'{"issuer":"https://login.example.com"}'), "metadata_bad_jwks_uri"),
    ],
    ids=range(11),
)
def test_bad_metadata_keeps_the_known_key_url_with_alarm(document, code):
    """The issuer must name itself exactly, and cannot move its keys off https."""
    made = policy(FOUND)
    made.metadata_answered(answer(METADATA), 0.0)
    made.metadata_answered(document, 3_000.0)
    assert made.metadata_error == code
    assert made.jwks_url == "https://keys.example.net/set"
    assert made.alarms() == {"discovery_unavailable"}


def test_metadata_is_retried_quickly_only_while_no_key_url_is_known():
    """As for keys: without any, every request fails."""
    bare = policy(FOUND)
    bare.metadata_failed("timed_out", 0.0)
    assert bare.next_due_s() == BARE_RETRY_S
    known = policy(FOUND)
    known.metadata_answered(answer(METADATA), 0.0)
    known.keys_answered(key_set(A), 0.0)
    known.metadata_failed("timed_out", 0.0)
    assert known.next_due_s() == 30


def test_moved_key_url_is_fetched_at_once_without_old_etag():
    """An ETag is of one place only."""
    made = policy(FOUND)
    made.metadata_answered(answer(METADATA), 0.0)
    made.keys_answered(key_set(A, etag='"1"'), 0.0)
    made.metadata_answered(answer(METADATA.replace(b"/set", b"/new")), 100.0)
    assert made.due(100.0) is Job.KEYS
    assert "if-none-match" not in made.request_headers()
    assert kids(made) == {"a"}


def test_restored_keys_serve_until_24_hours_after_their_fetch():
    """A restart must not make keys younger."""
    old = fed(key_set(A)).held.public()
    made = policy(now_s=50.0)
    made.restore(old, DAY_S - 100, 50.0)
    assert kids(made) == {"a"}
    assert made.last_fetch_ok is False
    assert made.due(50.0) is Job.KEYS
    assert made.tick(149.0) is False
    assert made.tick(150.0) is True


def test_only_keys_of_the_newest_document_are_listed_for_saving():
    """A key on its way out would come back with every restart."""
    made = fed(key_set(A, B), key_set(B))
    assert [jwk.kid for jwk in made.listed()] == ["b"]


def test_moved_source_keeps_keys_until_it_answers_then_replaces_all():
    """A reload refuses nobody, and nothing outlives its configuration."""
    made = fed(key_set(A))
    moved = KeySource("login", SOURCE.issuer, "https://login.example.com/v2/jwks")
    made.reconfigure(moved, 100.0)
    assert made.due(100.0) is Job.KEYS
    assert made.jwks_url == moved.jwks_url
    assert kids(made) == {"a"}
    made.keys_answered(key_set(B), 100.5)
    assert kids(made) == {"b"}


def test_keys_of_a_source_that_moved_end_after_ten_minutes_without_answer():
    """Bounded: the operator may have moved away from that source for a reason."""
    made = fed(key_set(A))
    made.reconfigure(KeySource("login", SOURCE.issuer, "https://other.example/"), 100.0)
    made.keys_failed("timed_out", 101.0)
    assert made.tick(100 + EMPTY_KEPT_S - 1) is False
    assert made.tick(100 + EMPTY_KEPT_S) is True
    assert kids(made) == set()


def test_changed_lifetime_alone_fetches_nothing():
    """A reload that moves nothing causes no herd of fetches."""
    made = fed(key_set(A))
    changed = KeySource("login", SOURCE.issuer, SOURCE.jwks_url, lifetime_s=900)
    made.reconfigure(changed, 100.0)
    assert made.due(100.0) is None
