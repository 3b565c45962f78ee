"""Signing: the keys of the revocation feed, from their files.

Owns:      nothing after the build.
Called by: wiring.agent.
"""

import re
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate.config.revocation import Signing
from fastgate.control.frame_seal import FrameSeal, SignedSeal
from fastgate.errors import ConfigError

__all__ = ["build_seal"]

_BLOCK = re.compile(
    rb"-----BEGIN PUBLIC KEY-----.{1,2000}?-----END PUBLIC KEY-----", re.DOTALL
)
# Reason: a key, and the one that follows it.
_MAX_KEYS = 4
_MAX_FILE_BYTES = 65_536


def build_seal(signing: Signing | None, node: str) -> FrameSeal:
    """Return what signs and checks frames, as configured.

    node: This node, which trusts itself.
    Raises ConfigError where a file has no P-256 key of the right kind.
    """
    if signing is None:
        return FrameSeal()
    own = _private(signing.key)
    trusted = {name: _public(path) for name, path in signing.trusted.items()}
    # Its own new key at once; an old one of its own is in its file.
    trusted[node] = (own.public_key(), *trusted.get(node, ()))
    return SignedSeal(own, trusted)


def _read(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE_BYTES)
    except OSError as exc:
        raise ConfigError(f"revocation.signing: {path}: {exc.strerror}") from exc


def _private(path: str) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(_read(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not _is_p256(key.curve):
        raise ConfigError(f"revocation.signing: {path} has no private key on P-256")
    return key


def _public(path: str) -> tuple[ec.EllipticCurvePublicKey, ...]:
    found = []
    for block in _BLOCK.findall(_read(path))[:_MAX_KEYS]:
        try:
            key = serialization.load_pem_public_key(block)
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not _is_p256(key.curve):
            raise ConfigError(f"revocation.signing: {path} has a key not on P-256")
        found.append(key)
    if not found:
        raise ConfigError(f"revocation.signing: {path} has no public key")
    return tuple(found)


def _is_p256(curve: ec.EllipticCurve) -> bool:
    return isinstance(curve, ec.SECP256R1)
