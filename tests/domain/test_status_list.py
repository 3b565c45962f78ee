"""Status lists: the draft's own vectors bit by bit, and what is no list."""

import base64
import json
import random
import time
import zlib
from typing import Any

import pytest
from tests.vectors import vectors_dir

from fastgate.domain.notice import Fault, NoticeError
from fastgate.domain.status_list import entry_of, read_status_list

URI = "https://lists.example.com/1"
ISSUER = "https://login.example.com"
NOW = 1_800_000_000


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(raw: bytes = b"\xb9\xa3", bits: Any = 1, **changes: Any) -> dict[str, Any]:
    told = {"bits": bits, "lst": b64(zlib.compress(raw))}
    found = {"sub": URI, "iat": NOW, "status_list": told} | changes
    return {name: value for name, value in found.items() if value is not None}


def read(document: dict[str, Any], max_bytes: int = 1 << 20):
    return read_status_list(
        document,
        uri=URI,
        issuer=ISSUER,
        now_s=NOW,
        leeway_s=5,
        max_bytes=max_bytes,
    )


def refused(document: dict[str, Any], **how: int) -> Fault:
    with pytest.raises(NoticeError) as caught:
        read(document, **how)
    return caught.value.fault


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_vectors_of_the_draft(bits):
    path = vectors_dir() / "token-status-list/vectors.json"
    document = json.loads(path.read_text())
    [vector] = [v for v in document["vectors"] if v["bits"] == bits]
    told = {"bits": bits, "lst": vector["lst"]}
    found = read(claims(status_list=told), max_bytes=vector["size"] * bits // 8)
    expected = dict(map(tuple, vector["nonzero"]))
    size = vector["size"]
    assert len(found.raw) * 8 // bits == size
    for index, status in expected.items():
        assert entry_of(found.raw, bits, index) == status
    zeros = random.Random(7).sample(range(size), 2_000)
    assert all(entry_of(found.raw, bits, i) == expected.get(i, 0) for i in zeros)
    # Nothing else is set: as many bits as the entries have.
    ones = sum(status.bit_count() for status in expected.values())
    assert int.from_bytes(found.raw).bit_count() == ones
    assert entry_of(found.raw, bits, size) is None


def test_examples_of_the_draft():
    told = {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}
    raw = read(claims(status_list=told)).raw
    wanted = [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1]
    assert [entry_of(raw, 1, i) for i in range(16)] == wanted
    told = {"bits": 2, "lst": "eNo76fITAAPfAgc"}
    raw = read(claims(status_list=told)).raw
    wanted = [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]
    assert [entry_of(raw, 2, i) for i in range(12)] == wanted
    assert entry_of(raw, 2, 12) is None
    assert entry_of(raw, 2, -1) is None


@pytest.mark.parametrize(
    ("members", "fresh_s"),
    [
        ({}, 300),
        ({"ttl": 60}, 60),
        ({"ttl": 0}, 10),
        ({"ttl": 10**9}, 86_400),
        ({"exp": NOW + 100}, 100),
        ({"exp": NOW + 10**6}, 86_400),
        ({"ttl": 60, "exp": NOW + 30}, 30),
        ({"ttl": 20, "exp": NOW + 30}, 20),
        ({"exp": NOW - 4}, 10),
    ],
    ids=str,
)
def test_list_is_fresh_for_as_long_as_it_says_within_bounds(members, fresh_s):
    assert read(claims(**members)).fresh_s == fresh_s


def packed(raw: bytes) -> dict[str, Any]:
    return {"status_list": {"bits": 1, "lst": b64(raw)}}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param({"sub": URI + "/"}, Fault.CLAIMS, id="another-list"),
        pytest.param({"sub": None}, Fault.CLAIMS, id="no-sub"),
        pytest.param({"iss": "https://evil"}, Fault.ISSUER, id="foreign"),
        pytest.param({"iat": None}, Fault.TIME, id="no-iat"),
        pytest.param({"iat": NOW + 60}, Fault.TIME, id="future"),
        pytest.param({"exp": NOW - 60}, Fault.TIME, id="expired"),
        pytest.param({"exp": "x"}, Fault.CLAIMS, id="exp-text"),
        pytest.param({"ttl": -1}, Fault.CLAIMS, id="ttl-negative"),
        pytest.param({"ttl": 1.5}, Fault.CLAIMS, id="ttl-fraction"),
        pytest.param({"ttl": True}, Fault.CLAIMS, id="ttl-bool"),
        pytest.param({"status_list": None}, Fault.CLAIMS, id="no-list"),
        pytest.param({"bits": 3}, Fault.CLAIMS, id="bits-3"),
        pytest.param({"bits": True}, Fault.CLAIMS, id="bits-bool"),
        pytest.param({"bits": "1"}, Fault.CLAIMS, id="bits-text"),
        pytest.param({"status_list": {"bits": 1}}, Fault.MALFORMED, id="no-lst"),
        pytest.param(packed(b"nonsense"), Fault.MALFORMED, id="no-zlib"),
        pytest.param(packed(zlib.compress(b"abc")[:-2]), Fault.MALFORMED, id="cut-off"),
        pytest.param(packed(zlib.compress(b"abc") + b"x"), Fault.MALFORMED, id="tail"),
        pytest.param(packed(zlib.compress(b"")), Fault.MALFORMED, id="empty"),
        pytest.param(
            {"status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ=="}},
            Fault.MALFORMED,
            id="padding",
        ),
    ],
)
def test_what_is_no_list_is_refused(changes, fault):
    assert refused(claims(**changes)) is fault


def test_zip_bomb_is_inflated_no_further_than_its_limit_j13():
    """A megabyte that says a gigabyte costs what a megabyte costs."""
    deflater = zlib.compressobj(9)
    bomb = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(1024))
    bomb += deflater.flush()
    began = time.process_time()
    assert refused(claims(**packed(bomb)), max_bytes=1 << 20) is Fault.MALFORMED
    assert time.process_time() - began < 1.0
