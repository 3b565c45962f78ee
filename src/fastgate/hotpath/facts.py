# cython: annotation_typing=False
"""Facts: what stays of a token once its signature was verified.

Owns:      the making of Facts, and small tables of values that repeat.
Called by: hotpath.gate, once per token seen for the first time.
Source:    PROTOCOLS.md section 1.5 (identifiers), DESIGN.md section 10 (headers).

Compiled with the gate: it reads these fields on every request (facts.pxd), and as plain
Python the making of facts was the largest part of what a new token costs beside its
verification.
"""

from typing import TYPE_CHECKING
from urllib.parse import quote

import cython

from fastgate.domain.region import NO_REGION, UNKNOWN_REGION, RegionSet
from fastgate.domain.revocation import Kind, framed
from fastgate.domain.token import IssuerProfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import blake2b

    from fastgate.hotpath.native import TokenScan

__all__ = ["Facts", "FactsMaker", "identity_headers"]

# Reason: client ids, audiences and scopes repeat across tokens; beyond this many
# different ones a table starts again, so that no issuer can grow it.
_MEMO_ENTRIES = 4096
# Object headers, slots and one table entry; measured by tests/hotpath/test_facts.py.
_BASE_WEIGHT_BYTES = 520
# Visible ASCII as it is; "%" is encoded too, so that decoding is exact.
_VISIBLE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%")
# The order of revocation keys; the bits of Facts.named count it.
_ORDER = (
    Kind.ISSUER.value,
    Kind.KID.value,
    Kind.CLIENT.value,
    Kind.JTI.value,
    Kind.SID.value,
    Kind.SUB.value,
    Kind.GRANT.value,
)
# The frame of a text depends on nothing but its length.
_FRAMES = tuple([framed("x" * size)[: -size or None] for size in range(256)])
_KID, _CLIENT, _JTI, _SID, _SUB, _GRANT = 2, 4, 8, 16, 32, 64


@cython.final
@cython.no_gc
@cython.cclass
class Facts:
    """What a verified signature established; a domain.token.TokenFacts.

    issuer: Index of the profile that accepted it.
    thumbprint: RFC 7638 thumbprint of the key; the facts end with that key. b"" where
        the issuer's introspection answer vouches instead of a signature.
    revocation_keys: Concatenated 16-byte keys to look up on every request; bit n of
        `named` says that the n-th kind of _ORDER is among them.
    revocation_iat: iat for cut-offs; 0 for a token without, older than every one.
    weight_bytes: Rough size in memory, so that caches stay bounded.
    """

    issuer: int
    thumbprint: bytes
    kid: str | None
    exp: int
    nbf: int
    iat: int
    audience: frozenset[str]
    scope: frozenset[str]
    region: int
    revocation_keys: bytes
    named: int
    revocation_iat: int
    identity: tuple[tuple[str, str], ...]
    weight_bytes: int

    @property
    def revocation_kinds(self) -> tuple[str, ...]:
        """Kind of each revocation key, in the same order, for explanations."""
        return tuple([kind for n, kind in enumerate(_ORDER) if self.named >> n & 1])


@cython.final
@cython.cclass
class FactsMaker:
    """Makes facts of one issuer's tokens.

    It holds only tables of repeating values, which decide nothing.
    profile: Whose tokens. regions: Maps the region claim to an index.
    """

    def __init__(self, profile: IssuerProfile, regions: RegionSet) -> None:
        self._issuer = profile.index
        self._names = regions.names
        self._indices = {name: n for n, name in enumerate(regions.names)}
        hasher = profile.hasher
        self._issuer_key = hasher.key(Kind.ISSUER, profile.issuer)
        self._begin_kid = hasher.seed(Kind.KID).copy
        self._begin_client = hasher.seed(Kind.CLIENT).copy
        self._begin_jti = hasher.seed(Kind.JTI).copy
        self._begin_sid = hasher.seed(Kind.SID).copy
        self._begin_sub = hasher.seed(Kind.SUB).copy
        self._begin_grant = hasher.seed(Kind.GRANT).copy
        self._kids: dict[str, bytes] = {}
        self._clients: dict[str, bytes] = {}
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}

    def make(
        self,
        scanned: "TokenScan",
        thumbprint: bytes,
        kid: str | None,
        exp: int,
        nbf: int,
        iat: int,
    ) -> Facts:
        """Return the facts of a scan whose signature (or issuer's word) was checked.

        thumbprint, kid: Of the key that verified; b"" and None for an introspection
            answer. exp, nbf, iat: As scanned, seconds since 1970 or -1.
        """
        sub, jti, sid, client, grant, claim, aud, scope = scanned.claims()
        region = NO_REGION
        if claim is not None:
            region = self._indices.get(claim, UNKNOWN_REGION)
        named = 1
        keys = [self._issuer_key]
        if kid is not None:
            named |= _KID
            keys.append(_repeating(self._kids, self._begin_kid, kid))
        if client is not None:
            named |= _CLIENT
            keys.append(_repeating(self._clients, self._begin_client, client))
        if jti is not None:
            named |= _JTI
            keys.append(_hashed(self._begin_jti, jti))
        if sid is not None:
            named |= _SID
            keys.append(_hashed(self._begin_sid, sid))
        if sub is not None:
            named |= _SUB
            keys.append(_hashed(self._begin_sub, sub))
        if grant is not None:
            named |= _GRANT
            keys.append(_hashed(self._begin_grant, grant))
        facts = Facts.__new__(Facts)
        facts.issuer = self._issuer
        facts.thumbprint = thumbprint
        facts.kid = kid
        facts.exp = exp
        facts.nbf = nbf
        facts.iat = iat
        facts.revocation_iat = max(iat, 0)
        facts.audience = self._set(aud)
        facts.scope = self._set(scope)
        facts.region = region
        facts.revocation_keys = b"".join(keys)
        facts.named = named
        name = self._names[region] if region >= 0 else None
        facts.identity = identity_headers(sub, client, scope, name, jti)
        facts.weight_bytes = _BASE_WEIGHT_BYTES + _text_bytes(facts.identity)
        return facts

    def _set(self, values: tuple[str, ...]) -> frozenset[str]:
        found = self._sets.get(values)
        if found is None:
            if len(self._sets) >= _MEMO_ENTRIES:
                self._sets.clear()
            found = self._sets[values] = frozenset(values)
        return found


def identity_headers(
    subject: str | None,
    client: str | None,
    scope: tuple[str, ...],
    region: str | None,
    token_id: str | None,
) -> tuple[tuple[str, str], ...]:
    """Return the header pairs that tell the upstream who calls.

    A value that is absent has no pair; client copies are removed all the same.
    Values are visible ASCII, everything else and "%" percent-encoded as UTF-8; scopes
    are separated by single spaces.
    """
    pairs = []
    if subject is not None:
        pairs.append(("X-Fastgate-Subject", _encoded(subject)))
    if client is not None:
        pairs.append(("X-Fastgate-Client", _encoded(client)))
    if scope:
        pairs.append(("X-Fastgate-Scope", " ".join([_encoded(s) for s in scope])))
    if region is not None:
        pairs.append(("X-Fastgate-Region", region))
    if token_id is not None:
        pairs.append(("X-Fastgate-Token-Id", _encoded(token_id)))
    return tuple(pairs)


def _repeating(
    memo: dict[str, bytes], begin: "Callable[[], blake2b]", value: str
) -> bytes:
    key = memo.get(value)
    if key is None:
        if len(memo) >= _MEMO_ENTRIES:
            memo.clear()
        key = memo[value] = _hashed(begin, value)
    return key


def _hashed(begin: "Callable[[], blake2b]", value: str) -> bytes:
    # As domain.revocation.KeyHasher.key, without a Python frame in it.
    raw = value.encode()
    digest = begin()
    if len(raw) < len(_FRAMES):
        digest.update(_FRAMES[len(raw)] + raw)
    else:
        digest.update(framed(value))
    return digest.digest()


def _encoded(text: str) -> str:
    for character in text:
        if not "!" <= character <= "~" or character == "%":
            return quote(text, safe=_VISIBLE)
    return text


def _text_bytes(identity: tuple[tuple[str, str], ...]) -> cython.Py_ssize_t:
    total = 0
    for _, value in identity:
        total += len(value)
    return total
