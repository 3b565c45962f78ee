"""Base64url, strictly: one text per value, for keys and the payload of phantom tokens.

Owns:      nothing; the request path has its own decoder in compiled code.
Called by: domain.jwk, control.introspection_answer, hotpath.keys.
Source:    RFC 4648 section 5, RFC 7515 section 2; PROTOCOLS.md section 1.1.
"""

import base64
import re

__all__ = ["decode", "encode"]

_TEXT = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


def decode(text: str) -> bytes | None:
    """Return the octets of canonical base64url without padding.

    Returns None for a foreign character, padding, an impossible length, spare bits that
    are not zero, and the empty text. Raises nothing.
    """
    if not _TEXT.fullmatch(text) or len(text) % 4 == 1:
        return None
    octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # Reason: the library ignores spare bits, so sixteen texts would name one key.
    return octets if encode(octets) == text else None


def encode(octets: bytes) -> str:
    """Return the base64url text of `octets`, without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
