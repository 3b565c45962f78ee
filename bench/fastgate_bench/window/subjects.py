"""Subjects: whom a revocation names, and the tokens that it must end.

Owns:      how often each odd case comes up.
Called by: window.load draws one for each revocation.
Source:    REVOCATION.md sections 2 and 3.
"""

import random
import time
from dataclasses import dataclass
from typing import Any, Final

from fastgate_bench.tokens import Issuer
from fastgate_bench.window.node import REGIONS
from fastgate_bench.window.upstream import HEADER

__all__ = ["Subject", "good_head", "session", "subject"]

_KINDS: Final = ("jti", "sid", "sub")
_LIFE_S: Final = 3000
_SKEWED_S: Final = 60  # so that no clock of the rig sees a token of its future
_UNKNOWN_HOME_SHARE: Final = 0.1
_NO_CLAIM_SHARE: Final = 0.1
_OWN_SECOND_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a revocation names.

    home: The region of the user. known: The request says so.
    asked: Members of the request, besides `home`.
    heads: Requests with tokens that it ends, each up to the value of HEADER.
    spared: A request with a token that it must not end; empty: there is none.
    """

    name: str
    kind: str
    home: str
    known: bool
    asked: dict[str, Any]
    heads: tuple[bytes, ...]
    spared: bytes = b""


def subject(issuer: Issuer, name: str, chance: random.Random) -> Subject:
    """Draw whom a revocation names.

    Some have no known home; of those, users have moved: they hold a token of either
    region. Some tokens have no region claim. Some users are revoked as of a second in
    which a token was issued: that one ends, one of the next second does not.
    """
    kind, home = chance.choice(_KINDS), chance.choice(REGIONS)
    known = chance.random() >= _UNKNOWN_HOME_SHARE
    claim = None if chance.random() < _NO_CLAIM_SHARE else home
    claims: list[str | None] = [claim]
    if not known and kind != "jti":
        claims.append(chance.choice([it for it in REGIONS if it != home]))
    iat = int(time.time()) - _SKEWED_S
    asked: dict[str, Any] = {"kind": kind, "issuer": "login", "value": name}
    spared = b""
    if kind == "sub" and chance.random() < _OWN_SECOND_SHARE:
        asked["issued_before"] = iat
        spared = _head(issuer, iat + 1, home, sub=name)
    heads = tuple(_head(issuer, iat, each, **{kind: name}) for each in claims)
    return Subject(name, kind, home, known, asked, heads, spared)


def session(issuer: Issuer, name: str, home: str) -> Subject:
    """Return a session that somebody else revokes."""
    iat = int(time.time()) - _SKEWED_S
    heads = (_head(issuer, iat, home, sid=name),)
    return Subject(name, "sid", home, True, {}, heads)


def good_head(issuer: Issuer, region: str) -> bytes:
    """Return a request with a token that nobody revokes."""
    return _head(issuer, int(time.time()) - _SKEWED_S, region)


def _head(issuer: Issuer, iat: int, region: str | None, **claims: str) -> bytes:
    token = issuer.token(region, iat=iat, exp=iat + _LIFE_S, **claims)
    return (
        f"GET /orders/1 HTTP/1.1\r\nHost: rig.test\r\n"
        f"Authorization: Bearer {token}\r\n{HEADER}: "
    ).encode()
