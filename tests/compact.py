"""Spell a compact JWS from raw octets, also a wrong one; it signs nothing.

Called by: tests of the token scanner. Real signed tokens come from tests/tokens.py.
"""

import base64

HEADER = b'{"alg":"ES256","kid":"k1","typ":"at+jwt"}'
CLAIMS = b'{"iss":"https://id.example","exp":1900000000}'
SIGNATURE = bytes(range(64))


def encode(octets: bytes) -> bytes:
    """Canonical base64url."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def compact(
    header: bytes = HEADER, claims: bytes = CLAIMS, signature: bytes = SIGNATURE
) -> bytes:
    """A token of these three parts, each encoded canonically."""
    return b".".join(encode(part) for part in (header, claims, signature))
