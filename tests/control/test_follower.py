"""Follower: which configuration and which keys requests are served with."""

import pytest
from tests.config.documents import BASE, changed, load_text
from tests.jwk_makers import ec_pair

from fastgate.adapters.shared_document import SharedDocument
from fastgate.control.follower import Follower
from fastgate.control.keys_document import PublishedKeys, write_published
from fastgate.domain.jwk import read_jwk
from fastgate.hotpath.keys import build_keys

LOGIN = "https://login.example.com"
JWK = read_jwk(ec_pair().jwk(kid="a")).members()


def keys_of(issuer: str) -> bytes:
    return write_published({"login": PublishedKeys((JWK,), True, 0, issuer)})


class Rig:
    """A follower on two documents that a test publishes."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.config = SharedDocument(bytearray(65_536), writable=True)
        self.keys = SharedDocument(bytearray(65_536), writable=True)
        self.follower = Follower(
            config=self.config,
            keys=self.keys,
            inherited=self.load(BASE),
            build_keys=build_keys,
        )

    def load(self, text: str):
        loaded = load_text(self.folder, text)
        assert loaded.config is not None, loaded.problems
        return loaded.config

    def kids(self) -> list[str]:
        self.follower.refresh()
        (keys,) = self.follower.cell.current.keys
        return list(keys.by_kid)


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


def test_follower_uses_keys_of_the_issuer_it_has_them_for(rig):
    """The ordinary case."""
    rig.keys.publish(keys_of(LOGIN))
    assert rig.kids() == ["a"]


def test_follower_uses_no_keys_of_the_issuer_that_had_the_alias_before(rig):
    """A reload gives an alias to another `iss`: the old one's keys sign for nobody."""
    rig.keys.publish(keys_of(LOGIN))
    assert rig.kids() == ["a"]
    other = changed(f"issuer: {LOGIN}\n", "issuer: https://other.example.com\n")
    rig.config.publish(rig.load(other).to_document())
    assert rig.kids() == []
    rig.keys.publish(keys_of("https://other.example.com"))
    assert rig.kids() == ["a"]


def test_follower_goes_on_with_what_it_has_when_a_document_is_unreadable(rig):
    """An agent of another version must not take the workers along."""
    rig.keys.publish(keys_of(LOGIN))
    assert rig.kids() == ["a"]
    rig.keys.publish(b'{"v":9}')
    rig.config.publish(b"{}")
    assert rig.kids() == ["a"]


def test_follower_starts_with_what_it_inherits_and_then_follows(rig):
    """Nothing was published yet: the supervisor's configuration serves."""
    assert rig.follower.versions == (0, 0)
    assert rig.follower.cell.current.route_names() == ("orders",)
    more = BASE + "  - {path: /public/, service: orders, token: none}\n"
    rig.config.publish(rig.load(more).to_document())
    rig.follower.refresh()
    assert rig.follower.versions[0] == rig.config.version()
    assert rig.follower.cell.current.route_names() == ("orders", "public")
    assert rig.follower.config == rig.load(more)


def test_successor_of_a_worker_finds_the_newer_configuration_and_keys(rig):
    """Born after a reload, it does not serve what the supervisor started with."""
    more = BASE + "  - {path: /public/, service: orders, token: none}\n"
    rig.config.publish(rig.load(more).to_document())
    rig.keys.publish(keys_of(LOGIN))
    born = Follower(
        config=rig.config,
        keys=rig.keys,
        inherited=rig.load(BASE),
        build_keys=build_keys,
    )
    assert born.cell.current.route_names() == ("orders", "public")
    assert list(born.cell.current.keys[0].by_kid) == ["a"]


def test_snapshot_is_the_same_object_while_nothing_is_published(rig):
    """Many looks a second cost nothing, and requests keep what they hold."""
    rig.keys.publish(keys_of(LOGIN))
    rig.follower.refresh()
    before = rig.follower.cell.current
    for _ in range(3):
        rig.follower.refresh()
    assert rig.follower.cell.current is before


def test_key_objects_are_made_once_while_an_issuer_keeps_its_keys(rig):
    """Another issuer's rotation does not cost this one's caches."""
    rig.keys.publish(keys_of(LOGIN))
    rig.follower.refresh()
    (before,) = rig.follower.cell.current.keys
    rig.keys.publish(keys_of(LOGIN))
    rig.follower.refresh()
    (after,) = rig.follower.cell.current.keys
    assert after is before


def test_adopted_is_told_of_other_configurations_before_requests_see_them(rig):
    """Counters are laid out for new routes first; new keys change no layout."""
    seen = []

    def adopt(snapshot, config):
        seen.append((snapshot.version, config.digest()))
        assert rig.follower.cell.current is not snapshot

    rig.follower.adopted = adopt
    rig.keys.publish(keys_of(LOGIN))
    rig.follower.refresh()
    assert seen == []
    more = rig.load(BASE + "  - {path: /public/, service: orders, token: none}\n")
    rig.config.publish(more.to_document())
    rig.follower.refresh()
    assert seen == [(rig.config.version(), more.digest())]
    # And its keys came along.
    assert list(rig.follower.cell.current.keys[0].by_kid) == ["a"]
