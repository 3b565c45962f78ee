"""Key sources: the configuration's words for where keys are."""

from fastgate.config.issuers import Issuer
from fastgate.control.key_sources import key_sources

ISS = "https://login.example.com/"


def source(**fields):
    """Return the source of one issuer with these fields."""
    (made,) = key_sources({"login": Issuer(issuer=ISS, **fields)})
    return made


def test_configured_key_url_needs_no_discovery():
    """The DESIGN example."""
    made = source(jwks_url="https://login.example.com/jwks")
    assert (made.alias, made.issuer) == ("login", ISS)
    assert made.jwks_url == "https://login.example.com/jwks"
    assert made.metadata_url is None
    assert (made.lifetime_s, made.max_stale_s) == (600, 86_400)


def test_issuer_without_key_url_is_discovered():
    """OpenID Connect Discovery appends its path to the issuer."""
    made = source()
    assert made.jwks_url is None
    expected = "https://login.example.com/.well-known/openid-configuration"
    assert made.metadata_url == expected


def test_life_below_five_minutes_is_raised():
    """PROTOCOLS.md section 2."""
    assert source(jwks_lifetime="1s").lifetime_s == 300
    assert source(jwks_lifetime="2h").lifetime_s == 1800
