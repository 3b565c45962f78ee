"""Compact JWS: what issuers send besides access tokens, read strictly and verified.

Owns:      the shape of such a token; which keys are tried, and the one question about a
           key that nobody knows.
Called by: control.intake and control.set_poller, in the agent; never per request.
Source:    RFC 7515 sections 4, 5.2 and 7.1, RFC 8725; PROTOCOLS.md sections 1 and 2.

Access tokens are read by compiled code. This is for a few tokens a second whose claims
are nested, so it is written for being read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from fastgate.control.json_document import JsonError, read_object
from fastgate.domain import base64url
from fastgate.domain.keys import IssuerKeys, VerificationKey
from fastgate.domain.notice import Fault, NoticeError
from fastgate.errors import ControlError

__all__ = ["MAX_TOKEN_CHARS", "Jws", "JwsVerifier", "read_jws"]

MAX_TOKEN_CHARS = 64 * 1024
_PARTS = 3
_MAX_NAME_BYTES = 256
# Source: PROTOCOLS.md section 2: without a `kid`, so many keys are tried.
_MAX_KEYS_TRIED = 4
_ASK_S = 2.0
_CONTROLS = frozenset(map(chr, range(0x20))) | {"\x7f"}


@dataclass(frozen=True, slots=True)
class Jws:
    """A token whose text is in order; nothing of it was verified.

    typ: Lower case, "application/" removed; None where it is absent.
    """

    alg: str
    kid: str | None
    typ: str | None
    claims: Mapping[str, object]
    signed: bytes
    signature: bytes


def read_jws(text: str, *, max_chars: int = MAX_TOKEN_CHARS) -> Jws:
    """Read a compact JWS whose payload is a JSON object. Raises NoticeError."""
    parts = text.split(".") if len(text) <= max_chars else []
    if len(parts) != _PARTS or not text.isascii():
        raise NoticeError(Fault.MALFORMED, "not a compact JWS")
    raw = [base64url.decode(part) for part in parts]
    if raw[0] is None or raw[1] is None or raw[2] is None:
        raise NoticeError(Fault.MALFORMED, "not canonical base64url")
    try:
        header, claims = read_object(raw[0]), read_object(raw[1])
    except JsonError:
        raise NoticeError(Fault.MALFORMED, "not strict JSON") from None
    alg, kid, typ = (_name(header, name) for name in ("alg", "kid", "typ"))
    if alg is None:
        raise NoticeError(Fault.ALGORITHM, "alg is missing")
    # Source: PROTOCOLS.md section 1.4: no extension is understood, and none ignored.
    if not {"crit", "b64", "zip"}.isdisjoint(header) or _is_nested(header):
        raise NoticeError(Fault.MALFORMED, "the header asks for an extension")
    if typ is not None:
        typ = typ.lower().removeprefix("application/")
    signed = text[: text.rindex(".")].encode()
    return Jws(alg, kid, typ, claims, signed, raw[2])


def _name(header: Mapping[str, object], name: str) -> str | None:
    if name not in header:
        return None
    value = header[name]
    if (
        isinstance(value, str)
        and 0 < len(value.encode()) <= _MAX_NAME_BYTES
        and _CONTROLS.isdisjoint(value)
    ):
        return value
    raise NoticeError(Fault.MALFORMED, f"{name} must be a short text")


def _is_nested(header: Mapping[str, object]) -> bool:
    # Source: RFC 7519 section 5.2: `cty` marks a JWT inside of a JWT.
    return "cty" in header


class JwsVerifier:
    """Verifies with the keys that the issuer publishes.

    keys: Returns the current keys of an alias, None for an unknown one.
    asked: Looks for a kid that is not among them (Keyring.asked); bounded by a
        cool-down, so that invented kids cost the issuer nothing.
    """

    def __init__(
        self,
        *,
        keys: Callable[[str], IssuerKeys | None],
        asked: Callable[[str, str | None], Awaitable[None]],
    ) -> None:
        self._keys = keys
        self._asked = asked

    async def check(self, jws: Jws, alias: str, algorithms: Collection[str]) -> None:
        """Return where a key of the issuer made the signature.

        Raises NoticeError where none did, ControlError where the keys cannot be had.
        """
        # The list first: a public key must never become an HMAC secret, and `none` is
        # in no list.
        if jws.alg not in algorithms:
            raise NoticeError(Fault.ALGORITHM, "alg is not accepted")
        if self._verifies(jws, alias):
            return
        # An unknown kid, or a known one with a new key (PROTOCOLS.md section 2).
        known = jws.kid is None or jws.kid in self._of(alias).by_kid
        try:
            async with asyncio.timeout(_ASK_S):
                await self._asked(alias, None if known else jws.kid)
        except TimeoutError:
            raise ControlError("the issuer's keys are being fetched") from None
        if self._verifies(jws, alias):
            return
        keys = self._of(alias)
        if jws.kid is not None and jws.kid not in keys.by_kid:
            if not keys.last_fetch_ok:
                raise ControlError("the issuer's keys cannot be had")
            raise NoticeError(Fault.KEY, "no key of that kid")
        raise NoticeError(Fault.SIGNATURE, "the signature does not verify")

    def _of(self, alias: str) -> IssuerKeys:
        return self._keys(alias) or IssuerKeys()

    def _verifies(self, jws: Jws, alias: str) -> bool:
        return any(
            key.verify(jws.alg, jws.signature, jws.signed)
            for key in _candidates(jws, self._of(alias))
        )


def _candidates(jws: Jws, keys: IssuerKeys) -> list[VerificationKey]:
    if jws.kid is not None:
        key = keys.by_kid.get(jws.kid)
        return [] if key is None else [key]
    fitting = [key for key in keys.every if jws.alg in key.algorithms]
    # With more of them nobody can tell which was meant, and each try costs.
    return fitting if len(fitting) <= _MAX_KEYS_TRIED else []
