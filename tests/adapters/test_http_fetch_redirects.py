"""HTTP fetches: redirects stay in the house, and carry no credentials."""

import pytest
from tests.raw_issuer import OK, get, serving

from fastgate.errors import BadAnswerError


def redirect(location, status=302):
    """Return a raw redirect."""
    head = (
        f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
    )
    return head.encode("latin-1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_within_the_origin_is_followed(status):
    """An issuer may move its key set about its own house."""
    async with serving(redirect("/v2/jwks?x=1", status), OK) as (server, fetcher):
        assert (await get(fetcher, server.url + "/jwks")).status == 200
        assert server.requests[1].startswith(b"GET /v2/jwks?x=1 HTTP/1.1\r\n")


async def test_fourth_redirect_is_refused():
    """At most three."""
    async with serving(*[redirect(f"/{n}") for n in range(3)], OK) as (server, fetcher):
        assert (await get(fetcher, server.url)).status == 200
    async with serving(redirect("/again")) as (server, fetcher):
        with pytest.raises(BadAnswerError, match="too_many_redirects"):
            await get(fetcher, server.url)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:1/",
        "http://localhost/",
        "//evil.example/",
        "https://127.0.0.1/",
        "http://user@{host}/",
        "file:///etc/passwd",
        "/a b",
        "/a\x80",
        "http://[::1",
    ],
)
async def test_redirect_to_elsewhere_is_refused(location):
    """Only the same origin: another host would be a request we never meant to make."""
    async with serving(b"") as (server, fetcher):
        host = server.url.removeprefix("http://")
        server.answers = [redirect(location.replace("{host}", host))]
        with pytest.raises(BadAnswerError, match=r"(foreign|bad)_redirect"):
            await get(fetcher, server.url)
        assert len(server.requests) == 1


async def test_redirect_of_a_post_is_returned_not_followed():
    """Client credentials go where they were configured to go."""
    async with serving(redirect("/elsewhere", 307)) as (server, fetcher):
        answer = await get(fetcher, server.url, method="POST", body=b"token=a")
        assert answer.status == 307
        assert len(server.requests) == 1
