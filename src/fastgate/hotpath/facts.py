"""Facts: what stays of a token once its signature was verified.

Owns:      the making of TokenFacts, and small tables of values that repeat.
Called by: hotpath.gate, once per token seen for the first time.
Source:    PROTOCOLS.md section 1.5 (identifiers), DESIGN.md section 10 (headers).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastgate.domain.region import RegionSet
from fastgate.domain.revocation import Kind
from fastgate.domain.token import IssuerProfile, TokenFacts

if TYPE_CHECKING:
    from fastgate.hotpath.native import TokenScan

__all__ = ["FactsMaker", "identity_headers"]

# Reason: client ids, audiences and scopes repeat across tokens; beyond this many
# different ones the table starts again, so that no issuer can grow it.
_MEMO_ENTRIES = 4096
# Object headers, slots and one table entry; measured by tests/hotpath/test_facts.py.
_BASE_WEIGHT_BYTES = 520
# Visible ASCII as it is; "%" is encoded too, so that decoding is exact.
_VISIBLE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) != "%")


def identity_headers(
    *,
    subject: str | None,
    client: str | None,
    scope: Sequence[str],
    region: str | None,
    token_id: str | None,
) -> tuple[tuple[str, str], ...]:
    """Return the header pairs that tell the upstream who calls.

    A value that is absent has no pair; client copies are removed all the same.
    Values are visible ASCII, everything else and "%" percent-encoded as UTF-8; scopes
    are separated by single spaces.
    """
    pairs: list[tuple[str, str]] = []
    if subject is not None:
        pairs.append(("X-Fastgate-Subject", _encoded(subject)))
    if client is not None:
        pairs.append(("X-Fastgate-Client", _encoded(client)))
    if scope:
        pairs.append(("X-Fastgate-Scope", " ".join(map(_encoded, scope))))
    if region is not None:
        pairs.append(("X-Fastgate-Region", region))
    if token_id is not None:
        pairs.append(("X-Fastgate-Token-Id", _encoded(token_id)))
    return tuple(pairs)


def _encoded(text: str) -> str:
    if text.isascii() and text.isprintable() and " " not in text and "%" not in text:
        return text
    return quote(text, safe=_VISIBLE)


class FactsMaker:
    """Makes facts; holds only tables of repeating values, which decide nothing."""

    __slots__ = ("_keys", "_sets")

    def __init__(self) -> None:
        self._keys: dict[tuple[bytes, Kind, str], bytes] = {}
        self._sets: dict[tuple[str, ...], frozenset[str]] = {}

    def make(
        self,
        scan: "TokenScan",
        profile: IssuerProfile,
        regions: RegionSet,
        *,
        thumbprint: bytes,
        kid: str | None,
    ) -> TokenFacts:
        """Return the facts of a scan whose signature (or issuer's word) was checked.

        thumbprint: Of the key that verified; b"" for an introspection answer.
        """
        sub, jti, sid, client = scan.sub, scan.jti, scan.sid, scan.client_id
        grant = scan.grant
        scope = scan.scope
        region = regions.find(scan.region)
        keys = [self._repeating(profile, Kind.ISSUER, profile.issuer)]
        # Plain text: the compiled gate takes `str` and none of its subclasses.
        kinds = [Kind.ISSUER.value]
        if kid is not None:
            keys.append(self._repeating(profile, Kind.KID, kid))
            kinds.append(Kind.KID.value)
        if client is not None:
            keys.append(self._repeating(profile, Kind.CLIENT, client))
            kinds.append(Kind.CLIENT.value)
        hasher = profile.hasher
        for kind, value in (
            (Kind.JTI, jti),
            (Kind.SID, sid),
            (Kind.SUB, sub),
            (Kind.GRANT, grant),
        ):
            if value is not None:
                keys.append(hasher.key(kind, value))
                kinds.append(kind.value)
        identity = identity_headers(
            subject=sub,
            client=client,
            scope=scope,
            region=regions.names[region] if region >= 0 else None,
            token_id=jti,
        )
        text = sum(len(value) for _, value in identity)
        return TokenFacts(
            issuer=profile.index,
            thumbprint=thumbprint,
            kid=kid,
            exp=scan.exp,
            nbf=scan.nbf,
            iat=scan.iat,
            audience=self._set(scan.aud),
            scope=self._set(scope),
            region=region,
            revocation_keys=b"".join(keys),
            revocation_kinds=tuple(kinds),
            identity=identity,
            weight_bytes=_BASE_WEIGHT_BYTES + text,
        )

    def _repeating(self, profile: IssuerProfile, kind: Kind, value: str) -> bytes:
        memo = (profile.digest, kind, value)
        key = self._keys.get(memo)
        if key is None:
            if len(self._keys) >= _MEMO_ENTRIES:
                self._keys.clear()
            key = self._keys[memo] = profile.hasher.key(kind, value)
        return key

    def _set(self, values: tuple[str, ...]) -> frozenset[str]:
        found = self._sets.get(values)
        if found is None:
            if len(self._sets) >= _MEMO_ENTRIES:
                self._sets.clear()
            found = self._sets[values] = frozenset(values)
        return found
