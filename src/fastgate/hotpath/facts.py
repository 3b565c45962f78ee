# cython: annotation_typing=False
"""Facts: what stays of a token once its signature was verified.

Owns:      the making of Facts, and small tables of values that repeat.
Called by: hotpath.gate, once per token seen for the first time.
Source:    PROTOCOLS.md section 1.5 (identifiers), DESIGN.md section 10 (headers).

Compiled with the gate: it reads these fields on every request (facts.pxd), and as plain
Python the making of facts was the largest part of what a new token costs beside its
verification.
"""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes

import cython

from fastgate.domain.region import NO_REGION, UNKNOWN_REGION, RegionSet
from fastgate.domain.revocation import KEY_BYTES, Kind, framed
from fastgate.domain.token import IssuerProfile

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import blake2b

    from fastgate.hotpath.native import TokenScan

__all__ = ["Facts", "FactsMaker"]

# Reason: client ids, audiences and scopes repeat across tokens; beyond this many
# different ones a table starts again, so that no issuer can grow it.
_MEMO_ENTRIES = 4096
# Object headers, slots and one table entry; measured by tests/hotpath/test_facts.py.
_BASE_WEIGHT_BYTES = 300
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
_FRAMES = tuple([framed(bytes(size))[:4] for size in range(256)])
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
        `named` says that the n-th kind of _ORDER is among them. While a hash key is
        rotated, the same again under the old one.
    revocation_iat: iat for cut-offs; 0 for a token without, older than every one.
    identity_lines: Header lines that tell the upstream who calls, CRLF between them.
        A value that is absent has no line; client copies are removed all the same.
        Values are visible ASCII, everything else and "%" percent-encoded as UTF-8;
        scopes are separated by single spaces.
    status_name, status_index: The token's entry: name of the list on the status board,
        None where it has none; and which one.
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
    identity_lines: bytes
    status_name: str | None
    status_index: int
    weight_bytes: int

    @property
    def revocation_kinds(self) -> tuple[str, ...]:
        """Kind of each revocation key, in the same order, for explanations."""
        kinds = tuple([kind for n, kind in enumerate(_ORDER) if self.named >> n & 1])
        return kinds * (len(self.revocation_keys) // (KEY_BYTES * len(kinds)))

    @property
    def identity(self) -> tuple[tuple[str, str], ...]:
        """The header lines for the upstream as pairs of name and value."""
        lines = self.identity_lines.decode("ascii").split("\r\n")
        pairs = [line.partition(": ") for line in lines if line]
        return tuple([(name, value) for name, _, value in pairs])


@cython.final
@cython.cclass
class FactsMaker:
    """Makes facts of one issuer's tokens.

    It holds only tables of repeating values, which decide nothing.
    profile: Whose tokens. regions: Maps the region claim to an index.
    """

    def __init__(self, profile: IssuerProfile, regions: RegionSet) -> None:
        self._issuer = profile.index
        self._regions = {name: n for n, name in enumerate(regions.names)}
        self._region_lines = tuple(
            [b"\r\nX-Fastgate-Region: " + name.encode() for name in regions.names]
        )
        hasher = profile.hasher
        self._name_of_issuer = profile.issuer
        # None but while a key is rotated; then this costs what it costs.
        self._old_hashers = profile.old_hashers
        self._issuer_key = hasher.key(Kind.ISSUER, profile.issuer)
        self._begin_kid = hasher.seed(Kind.KID).copy
        self._begin_client = hasher.seed(Kind.CLIENT).copy
        self._begin_jti = hasher.seed(Kind.JTI).copy
        self._begin_sid = hasher.seed(Kind.SID).copy
        self._begin_sub = hasher.seed(Kind.SUB).copy
        self._begin_grant = hasher.seed(Kind.GRANT).copy
        self._lists = f"{profile.alias}\n" if profile.status_lists else None
        self._list_names: dict[str, str] = {}
        self._kids: dict[str, bytes] = {}
        self._clients: dict[str, tuple[bytes, bytes]] = {}
        self._audiences: dict[tuple[str, ...], frozenset[str]] = {}
        self._scopes: dict[tuple[str, ...], tuple[frozenset[str], bytes]] = {}

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
        facts = Facts.__new__(Facts)
        facts.issuer = self._issuer
        facts.thumbprint = thumbprint
        facts.kid = kid
        facts.exp = exp
        facts.nbf = nbf
        facts.iat = iat
        facts.revocation_iat = max(iat, 0)
        facts.audience = self._audience(aud)
        facts.status_name = None
        facts.status_index = -1
        if self._lists is not None:
            self._point(facts, scanned)
        facts.region = NO_REGION
        if claim is not None:
            facts.region = self._regions.get(claim, UNKNOWN_REGION)
        subject = None if sub is None else sub.encode()
        token_id = None if jti is None else jti.encode()
        self._name(facts, client, token_id, sid, subject, grant)
        self._introduce(facts, subject, client, scope, token_id)
        facts.weight_bytes = (
            _BASE_WEIGHT_BYTES + len(facts.identity_lines) + len(facts.revocation_keys)
        )
        return facts

    def _name(
        self,
        facts: Facts,
        client: str | None,
        token_id: bytes | None,
        sid: str | None,
        subject: bytes | None,
        grant: str | None,
    ) -> None:
        """Hash what a revocation may name, in the order of _ORDER."""
        named = 1
        keys = [self._issuer_key]
        if facts.kid is not None:
            named |= _KID
            keys.append(self._kid_key(facts.kid))
        if client is not None:
            named |= _CLIENT
            keys.append(self._client(client)[0])
        if token_id is not None:
            named |= _JTI
            keys.append(_hashed(self._begin_jti, token_id))
        if sid is not None:
            named |= _SID
            keys.append(_hashed(self._begin_sid, sid.encode()))
        if subject is not None:
            named |= _SUB
            keys.append(_hashed(self._begin_sub, subject))
        if grant is not None:
            named |= _GRANT
            keys.append(_hashed(self._begin_grant, grant.encode()))
        for hasher in self._old_hashers:
            values = (
                *(self._name_of_issuer, facts.kid, client),
                *(None if token_id is None else token_id.decode(), sid),
                *(None if subject is None else subject.decode(), grant),
            )
            keys += [
                hasher.key(Kind(kind), value)
                for kind, value in zip(_ORDER, values, strict=True)
                if value is not None
            ]
        facts.revocation_keys = b"".join(keys)
        facts.named = named

    def _introduce(
        self,
        facts: Facts,
        subject: bytes | None,
        client: str | None,
        scope: tuple[str, ...],
        token_id: bytes | None,
    ) -> None:
        """Write the header lines, each behind a CRLF; the first one is cut off."""
        lines = []
        if subject is not None:
            lines.append(b"\r\nX-Fastgate-Subject: ")
            lines.append(_visible(subject))
        if client is not None:
            lines.append(self._client(client)[1])
        facts.scope, line = self._scope(scope)
        lines.append(line)
        if facts.region >= 0:
            lines.append(self._region_lines[facts.region])
        if token_id is not None:
            lines.append(b"\r\nX-Fastgate-Token-Id: ")
            lines.append(_visible(token_id))
        facts.identity_lines = b"".join(lines)[2:]

    # -- what thousands of tokens share ------------------------------------------------

    def _point(self, facts: Facts, scanned: "TokenScan") -> None:
        """Note the entry of a status list; a list speaks for its issuer's tokens only.

        Source: draft-ietf-oauth-status-list section 6.
        """
        uri = scanned.status_uri
        if uri is None:
            return
        name = self._list_names.get(uri)
        if name is None:
            _bound(self._list_names)
            name = self._list_names[uri] = f"{self._lists}{uri}"
        facts.status_name = name
        facts.status_index = scanned.status_idx

    def _kid_key(self, kid: str) -> bytes:
        key = self._kids.get(kid)
        if key is None:
            _bound(self._kids)
            key = self._kids[kid] = _hashed(self._begin_kid, kid.encode())
        return key

    def _client(self, client: str) -> tuple[bytes, bytes]:
        known = self._clients.get(client)
        if known is None:
            _bound(self._clients)
            raw = client.encode()
            line = b"\r\nX-Fastgate-Client: " + _visible(raw)
            known = self._clients[client] = _hashed(self._begin_client, raw), line
        return known

    def _audience(self, values: tuple[str, ...]) -> frozenset[str]:
        known = self._audiences.get(values)
        if known is None:
            _bound(self._audiences)
            known = self._audiences[values] = frozenset(values)
        return known

    def _scope(self, values: tuple[str, ...]) -> tuple[frozenset[str], bytes]:
        known = self._scopes.get(values)
        if known is None:
            _bound(self._scopes)
            words = b" ".join([_visible(value.encode()) for value in values])
            line = b"\r\nX-Fastgate-Scope: " + words if values else b""
            known = self._scopes[values] = frozenset(values), line
        return known


def _bound(memo: dict[Any, Any]) -> None:
    if len(memo) >= _MEMO_ENTRIES:
        memo.clear()


def _hashed(begin: "Callable[[], blake2b]", raw: bytes) -> bytes:
    # As domain.revocation.KeyHasher.key, without a Python frame in it.
    digest = begin()
    if len(raw) < len(_FRAMES):
        digest.update(_FRAMES[len(raw)] + raw)
    else:
        digest.update(framed(raw))
    return digest.digest()


def _visible(raw: bytes) -> bytes:
    """Return UTF-8 text as a header may carry it; see Facts.identity_lines."""
    for byte in raw:
        if byte <= 0x20 or byte >= 0x7F or byte == 0x25:  # noqa: PLR2004 - " ", DEL, "%"
            return quote_from_bytes(raw, _VISIBLE).encode()
    return raw
