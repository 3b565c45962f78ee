"""Listeners, URLs, upstream origins, bus URLs and networks."""

import pytest
from pydantic import TypeAdapter, ValidationError

from fastgate.config.addresses import (
    Address,
    BusUrl,
    Network,
    Origin,
    Url,
    bus_technology,
    is_loopback,
    url_host,
)


def accepts(kind, text):
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError:
        return None


@pytest.mark.parametrize(
    "text", ["0.0.0.0:8080", "127.0.0.1:0", "[::1]:80", "[::]:8086", "unix:/run/a.sock"]
)
def test_address_is_written_as_it_was_read(text):
    """The text of a listener survives reading and writing."""
    assert str(Address.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "8080",
        ":8080",
        "localhost:80",
        "example.com:80",
        "::1:80",
        "[127.0.0.1]:80",
        "1.2.3.4:65536",
        "1.2.3.4:-1",
        "1.2.3.4:٨٠",
        "256.1.1.1:80",
        "unix:run/a",
        "unix:/" + "a" * 108,
        "unix:/a\x00b",
        "1.2.3.4",
        "",
    ],
)
def test_address_refuses_what_cannot_be_bound_for_certain(text):
    """No host names, no bare ports, no socket path that the kernel would cut."""
    with pytest.raises(ValueError, match=r"."):
        Address.parse(text)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("unix:/a", True),
        ("0.0.0.0:1", False),
        ("[::]:1", False),
        ("10.0.0.1:1", False),
    ],
)
def test_address_knows_whether_others_can_connect(text, private):
    """The admin listener needs a token exactly where another host can connect."""
    assert Address.parse(text).is_private is private


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("[::]:80", "10.0.0.1:80", True),
        ("10.0.0.1:80", "10.0.0.1:80", True),
        ("10.0.0.1:80", "10.0.0.2:80", False),
        ("10.0.0.1:80", "10.0.0.1:81", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("unix:/a", "unix:/a", True),
        ("unix:/a", "unix:/b", False),
        ("unix:/a", "127.0.0.1:0", False),
    ],
)
def test_address_tells_collisions_both_ways(one, other, collide):
    """A wildcard takes the port of every address; port 0 takes none."""
    first, second = Address.parse(one), Address.parse(other)
    assert first.collides(second) is collide
    assert second.collides(first) is collide


@pytest.mark.parametrize(
    "text",
    [
        "ftp://a/",
        "//a/",
        "https:a",
        "https://",
        "https://user:pw@a/",
        "https://a/#x",
        "https://a:99999/",
        "https://a:/",
        "https://a b/",
        "https://ä/",
        "https://a\\b/",
        'https://a/"',
        "https://a@b",
        "https://-/",
        "https://[::1",
        "HTTPS://a/",
        "https://a/\n",
    ],
)
def test_url_refuses_what_readers_may_disagree_on(text):
    """No credentials, fragments, spaces, foreign letters, odd hosts or ports."""
    assert accepts(Url, text) is None


def test_url_error_does_not_repeat_a_password():
    """Error texts are printed: a password in a URL must not come back."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Url).validate_python("https://user:hunter2@a/")
    assert "hunter2" not in refused.value.errors(include_input=False)[0]["msg"]


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://10.0.1.5:9000", "http://10.0.1.5:9000"),
        ("https://a.example/", "https://a.example"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("http://a/b", None),
        ("http://a?x", None),
        ("http://a/?", None),
        ("nats://a", None),
    ],
)
def test_origin_has_no_path(text, origin):
    """An upstream gets the path of the request, so its address has none."""
    assert accepts(Origin, text) == origin


@pytest.mark.parametrize(
    ("text", "technology", "port"),
    [
        ("nats://127.0.0.1:4333", "nats", 4333),
        ("tls://a", "nats", 4222),
        ("redis://a", "redis", 6379),
        ("rediss://a", "redis", 6379),
        ("kafka://a:9093", "kafka", 9093),
        ("kafkas://[::1]", "kafka", 9092),
    ],
)
def test_bus_has_a_technology_and_its_usual_port(text, technology, port):
    """The scheme says which client is needed and whether it encrypts."""
    assert accepts(BusUrl, text) == text
    assert bus_technology(text) == technology
    assert url_host(text)[1] == port


def test_bus_is_local_or_a_server_without_path_and_password():
    """Secrets have a place of their own, where they are not logged."""
    assert accepts(BusUrl, "local") == "local"
    assert bus_technology("local") == "local"
    for text in ("nats://u:p@a", "redis://a/0", "kafka://a,b", "amqp://a", "local://a"):
        assert accepts(BusUrl, text) is None


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.1", "10.0.0.1/32"),
        ("fd00::/8", "fd00::/8"),
        ("10.0.0.1/8", None),
        ("all", None),
        ("10.0.0.0/33", None),
    ],
)
def test_network_has_no_host_bits(text, network):
    """10.0.0.1/8 may mean one host or millions; it is refused."""
    assert accepts(Network, text) == network


def test_url_host_and_loopback_read_the_spelling_only():
    """Nothing is resolved: a name that points to loopback is not loopback here."""
    assert url_host("https://a.example/x") == ("a.example", 443)
    assert url_host("nats://[::1]") == ("::1", 4222)
    assert is_loopback("http://127.0.0.1:1")
    assert is_loopback("http://localhost/")
    assert not is_loopback("http://loopback.example/")
