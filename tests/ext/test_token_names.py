"""ClaimNames: the configuration of a scan, refused where it cannot be meant."""

import pytest
from tests.compact import compact

from fastgate._ext import token


@pytest.mark.parametrize(
    "names",
    [
        {"region": ("exp",)},
        {"region": ("aud",)},
        {"region": ("region", "region")},
        {"region": ("org", "org.region")},
        {"region": ("org.region", "org")},
        {"region": ("sub.region",)},
        {"region": ("scp.a",)},
        {"region": ("",)},
        {"region": ("a..b",)},
        {"region": ("x" * 257,)},
        {"region": tuple(f"r{n}" for n in range(9))},
        {"region": (), "grant": ("cnf",)},
        {"region": (), "grant": ("g", "g")},
        {"region": ("a.b",), "grant": ("a",)},
        {"region": (), "require": tuple(f"r{n}" for n in range(33))},
        {"region": (), "require": ("",)},
        {"region": (), "max_token_bytes": 16385},
        {"region": (), "max_token_bytes": 0},
        {"region": (), "max_depth": 33},
        {"region": (), "max_members": 257},
        {"region": (), "max_key_bytes": 1025},
        {"region": (), "max_depth": 32, "max_members": 256},
    ],
)
def test_claim_names_refuse_what_cannot_be_meant(names):
    """A name with two uses, an empty one, or a limit out of range."""
    with pytest.raises(ValueError, match=r"."):
        token.ClaimNames(**names)


def test_claim_names_show_what_they_were_made_of():
    """The caller reads back what it configured, and cannot change it."""
    names = token.ClaimNames(
        region=("region", "a.b.c"), grant=("g",), require=("sub",), max_depth=4
    )
    assert (names.region, names.grant, names.require) == (
        ("region", "a.b.c"),
        ("g",),
        ("sub",),
    )
    assert (names.max_token_bytes, names.max_depth, names.max_members) == (8192, 4, 128)
    with pytest.raises(AttributeError):
        names.region = ()  # type: ignore[misc]
    with pytest.raises(TypeError, match="immutable"):
        names.__init__(region=())  # type: ignore[misc]


def test_claim_names_take_as_many_names_as_they_promise():
    """The table has room for every name that the limits allow."""
    names = token.ClaimNames(
        region=tuple(f"region.of.this.kind.{n}" for n in range(8)),
        grant=tuple(f"grant.of.that.kind.{n}" for n in range(8)),
        require=tuple(f"required member number {n}" for n in range(32)),
    )
    members = ",".join(f'"required member number {n}":{n}' for n in range(32))
    nested = '"region":{"of":{"this":{"kind":{"7":"eu","5":"us"}}}}'
    document = "{" + nested + "," + members + "}"
    scan = token.scan_json(document.encode(), names)
    assert (scan.region, scan.region_claim) == ("us", "region.of.this.kind.5")
    assert scan.has_all_required
    document = document.replace("number 31", "number 32")
    assert not token.scan_json(document.encode(), names).has_all_required


@pytest.mark.parametrize(
    ("limit", "value", "within", "beyond", "code"),
    [
        ("max_depth", 3, b'{"a":[[1]]}', b'{"a":[[{}]]}', "too_deep"),
        ("max_depth", 1, b'{"a":1}', b'{"aud":["a"]}', "too_deep"),
        ("max_depth", 1, b'{"a":1}', b'{"status":{}}', "too_deep"),
        ("max_members", 2, b'{"a":{"b":1,"c":1}}', b'{"a":1,"b":1,"c"', None),
        ("max_key_bytes", 2, b'{"\xc3\xa9":1}', b'{"\\u00e9a":1}', "key_too_long"),
        ("max_key_bytes", 1, b'{"\\u0061":1}', b'{"ab":1}', "key_too_long"),
    ],
)
def test_limit_admits_its_value_and_refuses_one_more(
    limit, value, within, beyond, code
):
    """Members are counted for each object, depth from the top, keys unescaped."""
    names = token.ClaimNames(region=(), **{limit: value})
    assert token.scan_json(within, names).name == "ok"
    assert token.scan_json(beyond, names).name == (code or "too_many_members")


def test_token_limit_admits_its_size_and_refuses_one_more():
    """The size of the text is judged before anything in it is."""
    text = compact()
    limit = len(text)
    assert (
        token.scan(text, token.ClaimNames(region=(), max_token_bytes=limit)).code == 1
    )
    names = token.ClaimNames(region=(), max_token_bytes=limit - 1)
    assert token.scan(text, names).name == "too_large"


def test_members_count_again_when_an_object_is_closed():
    """Many objects of many members are in order; the limit is that of one object."""
    names = token.ClaimNames(region=(), max_depth=16, max_members=128)
    wide = b"{" + b",".join(b'"%d":0' % n for n in range(128)) + b"}"
    document = b'{"a":[' + b",".join([wide] * 40) + b"]}"
    assert token.scan_json(document, names).name == "ok"


def test_open_members_stay_in_bounds_when_every_level_is_full():
    """Depth times members of open objects is the most the scanner has to hold."""
    names = token.ClaimNames(region=(), max_depth=32, max_members=128)
    level = b",".join(b'"%d":0' % n for n in range(127))
    document = b"{}"
    for _ in range(31):
        document = b"{" + level + b',"x":' + document + b"}"
    assert token.scan_json(document, names).name == "ok"
    document = document.replace(b"{}", b"{" + level + b',"x":0,"y":0}')
    assert token.scan_json(document, names).name == "too_many_members"


def test_duplicates_are_found_when_hashes_collide_in_the_filter():
    """Every pair among 256 names is compared, wherever the second one stands."""
    names = token.ClaimNames(region=(), max_members=256, max_depth=16)
    keys = [b'"%s"' % (b"k" * (n % 20) + b"%d" % n) for n in range(255)]
    whole = b"{" + b",".join(key + b":0" for key in keys) + b"}"
    assert token.scan_json(whole, names).name == "ok"
    for key in keys:
        document = whole[:-1] + b"," + key + b":1}"
        assert token.scan_json(document, names).name == "duplicate_member"
