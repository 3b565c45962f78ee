"""Request targets: which are accepted, and what their paths mean (T5, T7)."""

import random
import string
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.domain.target import canonical_path, other_readings, parse_target


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"/", "/"),
        (b"/orders/42", "/orders/42"),
        (b"/orders/", "/orders/"),
        (b"/%6Frders", "/orders"),
        (b"/%6frders", "/orders"),
        (b"/%7Euser", "/~user"),
        (b"/a%20b", "/a%20b"),
        (b"/%c3%a9", "/%C3%A9"),
        (b"/a%2fb", "/a%2Fb"),
        (b"/a%5cb", "/a%5Cb"),
        (b"/a%25b", "/a%25b"),
        (b"/a;b=c", "/a;b=c"),
        (b"/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
        (b"/.hidden", "/.hidden"),
        (b"/..hidden", "/..hidden"),
        (b"/...", "/..."),
        (b"/a.b/c..d", "/a.b/c..d"),
        (b"/fa%E7ade", "/fa%E7ade"),
        (b"/%C0", "/%C0"),
        (b"/%FCber", "/%FCber"),
        # Segments that change the path, in every spelling.
        (b"/.", None),
        (b"/..", None),
        (b"/a/../b", None),
        (b"/a/./b", None),
        (b"/a/..", None),
        (b"/%2e%2e/b", None),
        (b"/%2E./b", None),
        (b"/.%2e", None),
        (b"/..;x/b", None),
        (b"/.;/b", None),
        (b"/..%3Bx/b", None),
        (b"/a%2F../b", None),
        (b"/a%2f..%2fb", None),
        (b"/a%5C..%5Cb", None),
        (b"/a%2F.", None),
        (b"/a/..%2Fb", None),
        # What readers disagree about.
        (b"", None),
        (b"orders", None),
        (b"*", None),
        (b"//", None),
        (b"/a//b", None),
        (b"//evil.example/", None),
        (b"/a\\b", None),
        (b"/a b", None),
        (b"/a#b", None),
        (b"/a?b", None),
        (b"/a\x00", None),
        (b"/a\r\n", None),
        (b"/a\n", None),
        (b"/%00", None),
        (b"/%0d%0a", None),
        (b"/%1f", None),
        (b"/%7f", None),
        (b"/%", None),
        (b"/%2", None),
        (b"/%zz", None),
        (b"/%-1", None),
        (b"/%+1", None),
        (b"/\xc3\xa9", None),
        (b"/a|b", None),
        (b"/[a]", None),
        (b'/"', None),
        # Overlong spellings of "." and "/".
        (b"/%c0%ae%c0%ae/b", None),
        (b"/%C0%AF", None),
        (b"/%C1%9C", None),
        (b"/%e0%80%af", None),
        (b"/%F0%80%80%AF", None),
        (b"/%f8%80%80%80%af", None),
        (b"/%FC%80%80%80%80%AF", None),
    ],
)
def test_canonical_path_is_what_all_readers_agree_on(
    raw: bytes, expected: str | None
) -> None:
    """Unreserved characters decoded, all else as it is; None where readers differ."""
    assert canonical_path(raw) == expected


@given(st.text(string.ascii_letters + "/.%25;FfEe", max_size=20))
def test_canonical_path_is_its_own_canonical_path(text: str) -> None:
    """T7: what is routed on means what is forwarded."""
    raw = b"/" + text.encode()
    path = canonical_path(raw)
    if path is not None:
        assert canonical_path(path.encode()) == path
        assert unquote_to_bytes(path) == unquote_to_bytes(raw)
        assert not any(segment in {".", ".."} for segment in path.split("/"))


@pytest.mark.parametrize(
    ("target", "authority", "expected"),
    [
        (b"/a?b=c", None, (b"/a?b=c", "/a", False)),
        (b"/a?", None, (b"/a?", "/a", False)),
        (b"/a?x=%2F..%2F&y=/../", None, (b"/a?x=%2F..%2F&y=/../", "/a", False)),
        (b'/a?{|}^`"<>\\[]', None, (b'/a?{|}^`"<>\\[]', "/a", False)),
        (b"/%2F", None, (b"/%2F", "/%2F", True)),
        (b"/a%5cb", None, (b"/a%5cb", "/a%5Cb", True)),
        (b"/a?b=%2F", None, (b"/a?b=%2F", "/a", False)),
        (b"http://h/a", b"h", (b"/a", "/a", False)),
        (b"HTTPS://H:80/a?b", b"h:80", (b"/a?b", "/a", False)),
        (b"http://h/a", b"other", None),
        (b"http://h:80/a", b"h", None),
        (b"http://h/a", None, None),
        (b"http://h", b"h", None),
        (b"http:///a", b"", None),
        (b"http://u@h/a", b"h", None),
        (b"http://h\\@evil/a", b"h", None),
        (b"ftp://h/a", b"h", None),
        (b"http:/a", b"h", None),
        (b"h:443", b"h:443", None),
        (b"*", b"h", None),
        (b"", b"h", None),
        (b"/a#f", None, None),
        (b"/a?b#f", None, None),
        (b"/a?b c", None, None),
        (b"/a?\xff", None, None),
        (b"/a?\x00", None, None),
        (b"/a?\r\nX: y", None, None),
        (b"?a", None, None),
    ],
)
def test_parse_target_accepts_one_form(
    target: bytes, authority: bytes | None, expected: tuple[bytes, str, bool] | None
) -> None:
    """T5: origin-form, or absolute-form that names this very host; raw is kept."""
    assert parse_target(target, authority=authority) == expected


@given(st.binary(max_size=40), st.one_of(st.none(), st.binary(max_size=8)))
def test_parse_target_takes_any_bytes(target: bytes, authority: bytes | None) -> None:
    """It raises nothing, and what it forwards is a suffix of what came."""
    parsed = parse_target(target, authority=authority)
    if parsed is not None:
        assert target.endswith(parsed.raw)
        assert parsed.raw.startswith(b"/")


@pytest.mark.parametrize(
    ("path", "plain", "careless"),
    [
        ("/a/b", "/a/b", "/a/b"),
        ("/a;x=1/b;y", "/a/b", "/a/b"),
        ("/;x/a", "/a", "/a"),
        ("/a%3Bx/b", "/a/b", "/a/b"),
        ("/a%2Fb%5Cc", "/a/b/c", "/a/b/c"),
        ("/a%3Fb/c", "/a%3Fb/c", "/a"),
        ("/a%23b/c", "/a%23b/c", "/a"),
        ("/%256Frders", "/%256Frders", "/orders"),
        ("/%2525252E", "/%2525252E", None),
        ("/a/%252e%252e/b", "/a/%252e%252e/b", None),
        ("/a%252F..%252Fb", "/a%252F..%252Fb", None),
        ("/a%2500", "/a%2500", None),
        ("/100%25", "/100%25", "/100%25"),
        ("/50%25x", "/50%25x", "/50%25x"),
    ],
)
def test_other_readings_are_those_of_careless_servers(
    path: str, plain: str, careless: str | None
) -> None:
    """Without parameters; and decoded twice, cut, with encoded slashes for slashes."""
    assert canonical_path(path.encode()) == path
    assert other_readings(path) == (plain, careless)


def test_other_readings_cost_little_for_the_longest_path() -> None:
    """A path that is nothing but percent signs is read in one pass."""
    draw = random.Random(1)
    for piece in ("%25", "%2525", ";", "%3B/", "%2F", "%3F"):
        path = canonical_path(b"/" + (piece * 2700).encode()[:8000].rpartition(b"%")[0])
        if path is not None:
            readings = other_readings(path + draw.choice(["", "a"]))
            assert len(readings) == 2
