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
