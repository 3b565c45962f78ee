"""Contract of the compiled token scanner: bytes in, codes and untrusted facts out.

Nothing here verifies a signature. Text rules: RFC 7515 sections 2 and 7.1; JSON rules:
RFC 8259 and RFC 7493; header and claims: RFC 7515 section 4, RFC 7519 section 4.
"""

from typing import Literal, final

from fastgate._ext.claim_names import ClaimNames as ClaimNames

CODES: dict[int, str]
"""Name of each code, 1 to 38. Names are stable; numbers follow the order of checks."""

@final
class TokenScan:
    """What one token or document said; untrusted until its signature was verified.

    With a code other than 1 every attribute below `where` has the value of a member
    that is absent. Each read of a text builds it anew: keep what is needed twice.
    """

    code: int
    """1: in order; else the first fault, reading left to right (see CODES)."""
    @property
    def name(self) -> str:
        """The stable name of `code`."""
    @property
    def where(self) -> Literal["token", "header", "claims"]:
        """Which part the code speaks of."""
    signing_input_end: int
    """Offset of the second dot: token[:signing_input_end] is what was signed."""
    @property
    def alg(self) -> str:
        """1 to 256 octets without control characters; "" for a bare document."""
    @property
    def kid(self) -> str | None:
        """Likewise 1 to 256 octets without control characters."""
    @property
    def typ(self) -> str | None:
        """As written: letter case and `application/` are the caller's matter."""
    @property
    def iss(self) -> str | None: ...
    @property
    def sub(self) -> str | None:
        """An integer is given as its decimal text; so in every identifier below."""
    @property
    def jti(self) -> str | None: ...
    @property
    def sid(self) -> str | None:
        """`sid`, else `session_id`."""
    @property
    def client_id(self) -> str | None:
        """`client_id`, else `azp`."""
    @property
    def grant(self) -> str | None:
        """The first of `ClaimNames.grant` that is there."""
    @property
    def region(self) -> str | None:
        """The first of `ClaimNames.region` that is there."""
    @property
    def region_claim(self) -> str | None:
        """The name of the claim that `region` came from."""
    @property
    def aud(self) -> tuple[str, ...]:
        """1 to 64 non-empty strings; () when the claim is absent, never otherwise."""
    @property
    def scope(self) -> tuple[str, ...]:
        """The words of `scope`; without it, those of `scp`, or `scp`'s entries."""
    @property
    def has_scope(self) -> bool: ...
    @property
    def exp(self) -> int:
        """Seconds since 1970-01-01 UTC, 0 to 2**53 - 1; -1 when absent."""
    @property
    def nbf(self) -> int:
        """Same unit; -1 when absent."""
    @property
    def iat(self) -> int:
        """Same unit; -1 when absent."""
    @property
    def status_idx(self) -> int:
        """`status.status_list.idx`; -1 when there is no status list."""
    @property
    def status_uri(self) -> str | None: ...
    @property
    def active(self) -> bool | None:
        """RFC 7662 section 2.2; None when absent or no boolean."""
    @property
    def has_cnf(self) -> bool:
        """True where `cnf` is there, with any value: RFC 7800 section 3.1."""
    @property
    def has_all_required(self) -> bool: ...
    def header_and_times(self) -> tuple[str, str | None, str | None, int, int, int]:
        """Return alg, kid, typ, exp, nbf and iat: one call where the gate needs all."""
    def claims(
        self,
    ) -> tuple[
        str | None,
        str | None,
        str | None,
        str | None,
        str | None,
        str | None,
        tuple[str, ...],
        tuple[str, ...],
    ]:
        """Return sub, jti, sid, client_id, grant, region, aud and scope, likewise."""
    def signature(self) -> bytes:
        """The decoded signature octets; b"" for a bare document or a refused token."""

def scan(token: bytes, names: ClaimNames) -> TokenScan:
    """Read a compact JWS for the gate; the code says whether it is in order."""

def scan_unverified(token: bytes, names: ClaimNames) -> TokenScan:
    """As `scan`, for routing hints alone: never an identity, times are not judged."""

def scan_json(document: bytes, names: ClaimNames) -> TokenScan:
    """Read a claims object of at most 65536 octets that is not inside a token."""

def der_signature(raw: bytes, size: Literal[32, 48]) -> bytes | None:
    """Turn raw R||S into DER; None where it must be refused.

    raw: The signature octets of ES256 (size 32) or ES384 (size 48).
    size: Octets of each integer.
    Returns None when the length is not 2 * size, or r or s is not in [1, n - 1].
    Raises ValueError for another size. Source: RFC 7518 section 3.4.
    """
