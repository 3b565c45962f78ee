"""Algorithms: the signature algorithms that an operator may name.

Owns:      their names, and what is said about any other.
Called by: config.issuers and config.ways_in, as a field type.
Source:    RFC 7518 section 3.1, RFC 8725 section 3.1; PROTOCOLS.md section 1.2.
"""

from typing import Annotated

from pydantic import BeforeValidator, Field

from fastgate.config.problems import did_you_mean
from fastgate.config.values import shown

__all__ = ["KNOWN_ALGORITHMS", "Algorithm"]

KNOWN_ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "EdDSA")


def _algorithm(value: object) -> object:
    known = ", ".join(KNOWN_ALGORITHMS)
    if not isinstance(value, str):
        raise ValueError(f"is no algorithm name; known: {known}")  # noqa: TRY004
    if value in KNOWN_ALGORITHMS:
        return str(value)
    # Source: RFC 8725 section 3.1: a public key must never become an HMAC secret.
    if value.lower() == "none" or value.upper().startswith("HS"):
        raise ValueError(f'"{shown(value)}" is never accepted; known: {known}')
    hint = did_you_mean(value, KNOWN_ALGORITHMS)
    raise ValueError(f'"{shown(value)}" is not served; known: {known}{hint}')


Algorithm = Annotated[
    str,
    Field(json_schema_extra={"enum": list(KNOWN_ALGORITHMS)}),
    BeforeValidator(_algorithm),
]
