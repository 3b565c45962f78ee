"""Scan of a token against the cost of calling at all and against decoding it naively.

Run: python -m pytest bench/micro/bench_token.py -o python_files='bench_*.py'
     -o python_functions='bench_*'
"""

import base64
import json
from collections.abc import Callable
from itertools import cycle
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pytest_benchmark.fixture import BenchmarkFixture

from fastgate._ext import token

NAMES = token.ClaimNames(region=("region", "zone", "org_region"))
HEADER = {"alg": "ES256", "kid": "key-2026-11", "typ": "at+jwt"}
CLAIMS = {
    "iss": "https://login.example.com/oauth/v2",
    "aud": "api",
    "exp": 1800000300,
    "nbf": 1799999700,
    "iat": 1799999700,
    "jti": "P$b2116bfc-4aaf-4ab9-b633-61bc3ed6897c",
    "sid": "s-8a7f6e5d4c",
    "sub": "user-1234567",
    "client_id": "myclient",
    "scope": "read write",
    "region": "us",
}
SIGNATURE = bytes(range(1, 65))


def build(header: dict[str, Any], claims: dict[str, Any]) -> bytes:
    texts = (
        json.dumps(part, separators=(",", ":")).encode() for part in (header, claims)
    )
    parts = (
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (*texts, SIGNATURE)
    )
    return b".".join(parts)


TOKEN_500 = build(HEADER, CLAIMS)
TOKEN_4096 = build(HEADER, CLAIMS | {"roles": [f"role-{n:05}" for n in range(206)]})
# More headers than are remembered: each scan reads its header anew.
TOKENS_FRESH = [build(HEADER | {"kid": f"key-{n:07}"}, CLAIMS) for n in range(64)]

SHAPES = {"es256_500_bytes": TOKEN_500, "es256_4_kib": TOKEN_4096}


def read(text: bytes) -> tuple[Any, ...]:
    """What the gate reads of a token that it never saw."""
    scan = token.scan(text, NAMES)
    return (
        *(scan.code, scan.alg, scan.kid, scan.typ, scan.iss, scan.aud, scan.exp),
        *(scan.nbf, scan.iat, scan.jti, scan.sid, scan.sub, scan.client_id),
        *(scan.scope, scan.region),
    )


def read_naively(text: bytes, loads: Callable[[bytes], Any]) -> tuple[Any, ...]:
    """The same facts by way of dicts; no duplicate, spare bit or float is noticed."""
    parts = text.split(b".")
    header, claims, _ = (
        base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)) for part in parts
    )
    head, body = loads(header), loads(claims)
    return (
        *(1, head["alg"], head.get("kid"), head.get("typ"), body["iss"]),
        *((body["aud"],), body["exp"], body["nbf"], body["iat"], body["jti"]),
        *(body["sid"], body["sub"], body["client_id"]),
        *(tuple(body["scope"].split()), body["region"]),
    )


def expect(answer: tuple[Any, ...]) -> None:
    assert answer[:3] == (1, "ES256", "key-2026-11")
    assert answer[-2:] == (("read", "write"), "us")


@pytest.mark.parametrize("shape", SHAPES)
def bench_read__floor(benchmark: BenchmarkFixture, shape: str) -> None:
    """The floor: the cost of calling a compiled function with the token."""
    assert benchmark(len, SHAPES[shape]) > 400


@pytest.mark.parametrize("shape", SHAPES)
def bench_scan__subject(benchmark: BenchmarkFixture, shape: str) -> None:
    """The scan alone: all checks, no attribute read."""
    assert benchmark(token.scan, SHAPES[shape], NAMES).code == 1


@pytest.mark.parametrize("shape", SHAPES)
def bench_read__subject(benchmark: BenchmarkFixture, shape: str) -> None:
    """The scan, and every attribute that the gate reads."""
    expect(benchmark(read, SHAPES[shape]))


@pytest.mark.parametrize("shape", SHAPES)
def bench_read__json_and_base64(benchmark: BenchmarkFixture, shape: str) -> None:
    """The naive way with the standard library."""
    expect(benchmark(read_naively, SHAPES[shape], json.loads))


@pytest.mark.parametrize("shape", SHAPES)
def bench_read__orjson_and_base64(benchmark: BenchmarkFixture, shape: str) -> None:
    """The naive way with the fastest parser there is for Python."""
    expect(benchmark(read_naively, SHAPES[shape], orjson.loads))


def bench_scan__es256_500_bytes_header_never_seen(benchmark: BenchmarkFixture) -> None:
    """The scan when the header is not remembered."""
    tokens = cycle(TOKENS_FRESH)
    assert benchmark(lambda: token.scan(next(tokens), NAMES)).code == 1


def bench_scan_json__most_members_6_kib(benchmark: BenchmarkFixture) -> None:
    """The worst that a sender can make of the duplicate check in an 8 KiB token."""
    wide = {f"{n:x}": 0 for n in range(128)}
    document = json.dumps({"a": [wide] * 6}, separators=(",", ":")).encode()
    assert len(document) < 6144
    assert benchmark(token.scan_json, document, NAMES).code == 1


def bench_der_signature__es256(benchmark: BenchmarkFixture) -> None:
    """Raw to DER, with the range check."""
    der = benchmark(token.der_signature, SIGNATURE, 32)
    assert der == dss_by_library(SIGNATURE)


def bench_der_signature__es256_by_library(benchmark: BenchmarkFixture) -> None:
    """The naive way: two integers and the library's encoder, no range check."""
    benchmark(dss_by_library, SIGNATURE)


def dss_by_library(raw: bytes) -> bytes:
    return encode_dss_signature(
        int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    )
