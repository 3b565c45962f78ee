"""JWKS documents: which keys of a set may be used, and what is wrong with the rest.

Owns:      nothing; pure. What happens over time is control.key_policy's.
Called by: control.keyring for fetched documents, control.keys_document for saved ones.
Source:    RFC 7517 section 5; PROTOCOLS.md section 2; THREATS.md I3, I4, I6.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate.control.json_document import JsonError, read_object
from fastgate.domain.jwk import Flaw, JwkError, PublicJwk, read_jwk

__all__ = [
    "MAX_BYTES",
    "MAX_KEYS",
    "Dropped",
    "KeySet",
    "KeySetError",
    "check_keys",
    "read_key_set",
]

MAX_BYTES = 256 * 1024
MAX_KEYS = 64

_CURVES: Mapping[str, ec.EllipticCurve] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
}
# Keys that are meant for somebody else or something else; no fault in itself.
_FOREIGN = frozenset({Flaw.WRONG_USE, Flaw.WRONG_CURVE, Flaw.UNSERVED})
# Source: RFC 7517 section 5: types and values not understood are to be ignored.
_SILENT = frozenset({Flaw.UNSERVED})


class KeySetError(ValueError):
    """The document as a whole cannot be used; `code` is stable and safe to show."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Dropped:
    """A key of the document that is not used.

    position: Its place in `keys`, from 0.
    kid: Its name, cut to 64 characters for display; None where it has no usable one.
    flaw: Why.
    """

    position: int
    kid: str | None
    flaw: Flaw


@dataclass(frozen=True, slots=True)
class KeySet:
    """What a document says.

    keys: Usable keys in the order of the document.
    dropped: The others.
    disputed: Names that several keys of the document claim; nothing is known of them.
    """

    keys: tuple[PublicJwk, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    disputed: frozenset[str] = frozenset()

    @property
    def refused(self) -> bool:
        """True where a key is dangerous or broken: the issuer made a mistake."""
        return any(each.flaw not in _FOREIGN for each in self.dropped)

    @property
    def unusable(self) -> bool:
        """True where a key is for another purpose or of an unknown curve."""
        return any(each.flaw in _FOREIGN - _SILENT for each in self.dropped)

    @property
    def empty(self) -> bool:
        """True where the document lists no key at all, good or bad."""
        return not self.keys and not self.dropped


def read_key_set(body: bytes) -> KeySet:
    """Return what the JWKS document `body` says.

    Raises KeySetError where no key of it can be trusted to be what the issuer meant.
    """
    if len(body) > MAX_BYTES:
        raise KeySetError("too_large")
    try:
        entries = read_object(body).get("keys")
    except JsonError:
        raise KeySetError("no_json") from None
    if not isinstance(entries, list):
        raise KeySetError("no_keys_member")
    return check_keys(entries)


def check_keys(entries: Sequence[object]) -> KeySet:
    """Return the usable ones of `entries`, members of `keys` as parsed JSON.

    Raises KeySetError where there are too many to look at.
    """
    if len(entries) > MAX_KEYS:
        raise KeySetError("too_many_keys")
    usable: list[tuple[int, PublicJwk]] = []
    dropped: list[Dropped] = []
    for position, entry in enumerate(entries):
        try:
            usable.append((position, _read(entry)))
        except JwkError as error:
            dropped.append(Dropped(position, _shown_kid(entry), error.flaw))
    usable, disclosed = _without_disclosed(usable, entries)
    single, doubled, disputed = _without_doubled(usable)
    return KeySet(
        keys=single,
        dropped=tuple(
            sorted([*dropped, *disclosed, *doubled], key=lambda each: each.position)
        ),
        disputed=disputed,
    )


def _read(entry: object) -> PublicJwk:
    jwk = read_jwk(entry)
    if jwk.kty == "EC":
        _load_point(jwk)
    return jwk


def _load_point(jwk: PublicJwk) -> None:
    x, y = (int.from_bytes(jwk.octets(name)) for name in ("x", "y"))
    try:
        ec.EllipticCurvePublicNumbers(x, y, _CURVES[jwk.crv]).public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise JwkError(Flaw.OFF_CURVE) from None


def _without_disclosed(
    usable: Iterable[tuple[int, PublicJwk]], entries: Sequence[object]
) -> tuple[list[tuple[int, PublicJwk]], list[Dropped]]:
    """Drop keys whose private half stands in the same document, under any name."""
    disclosed = {print_ for entry in entries if (print_ := _disclosed(entry))}
    kept = [each for each in usable if each[1].thumbprint not in disclosed]
    lost = [each for each in usable if each[1].thumbprint in disclosed]
    return kept, [Dropped(at, jwk.kid, Flaw.SECRET) for at, jwk in lost]


def _disclosed(entry: object) -> bytes | None:
    if not isinstance(entry, Mapping) or "d" not in entry:
        return None
    public = {name: entry.get(name) for name in ("kty", "crv", "x", "y", "n", "e")}
    try:
        return read_jwk(public).thumbprint
    except JwkError:
        return None


def _without_doubled(
    usable: Iterable[tuple[int, PublicJwk]],
) -> tuple[tuple[PublicJwk, ...], list[Dropped], frozenset[str]]:
    """Fold entries that repeat one key; drop all keys that share a name.

    Never "first wins": which of two keys an issuer means is not for us to guess.
    """
    folded: dict[tuple[str | None, bytes], tuple[int, PublicJwk]] = {}
    for position, jwk in usable:
        name = (jwk.kid, jwk.thumbprint)
        known = folded.get(name)
        if known is None:
            folded[name] = (position, jwk)
        elif known[1].alg != jwk.alg:
            # One key, listed once per algorithm (RS256, PS256): good for all that fit.
            folded[name] = (known[0], replace(known[1], alg=None))
    owners: defaultdict[str | None, int] = defaultdict(int)
    for kid, _ in folded:
        owners[kid] += 1
    disputed = frozenset(kid for kid, n in owners.items() if kid is not None and n > 1)
    kept = tuple(jwk for _, jwk in folded.values() if jwk.kid not in disputed)
    doubled = [
        Dropped(position, jwk.kid, Flaw.DOUBLED)
        for position, jwk in folded.values()
        if jwk.kid in disputed
    ]
    return kept, doubled, disputed


def _shown_kid(entry: object) -> str | None:
    kid = entry.get("kid") if isinstance(entry, Mapping) else None
    if not isinstance(kid, str) or not kid.isprintable():
        return None
    return kid[:64]
