"""Frame seal: ES256 signatures around what this node publishes, and their check.

Owns:      the envelope of docs/wire.md; which node may sign in whose name.
Called by: control.journal, control.pulse and control.handover close frames;
           control.origin and control.handover open them.
Source:    REVOCATION.md section 3 (one signature a batch where configured), THREATS.md
           B1. The digest detects loss, only signatures detect lies.

A signature holds for one origin and one publisher: a frame that was signed for one
stream says nothing in another.
"""

from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from fastgate.domain.event import PUBLISHER
from fastgate.domain.frame import FaultKind, FrameError

__all__ = ["FrameSeal", "SignedSeal"]

_MAGIC = b"\xfa\x5f"
_VERSION = 1
_HALF = 32
_ES256 = ec.ECDSA(hashes.SHA256())


class FrameSeal:
    """No signatures: frames are published as they are, and envelopes taken off."""

    def close(self, place: str, publisher: str, frame: bytes) -> bytes:  # noqa: ARG002
        """Return a frame as it is published.

        place: The origin; or `hand/` and the home. publisher: In whose name.
        """
        return frame

    def open(self, place: str, publisher: str, payload: bytes) -> bytes:  # noqa: ARG002
        """Return the frame in a payload.

        publisher: Who may have published it, as the bus knows; "" for anybody.
        Raises FrameError.
        """
        if not payload.startswith(_MAGIC):
            return payload
        signer, _, frame = _apart(payload)
        _check_name(signer, publisher)
        return frame


class SignedSeal(FrameSeal):
    """Signs what this node publishes; takes nothing that is not signed.

    own: This node's private key, on P-256. trusted: Public keys by node, this one's
    own among them.
    """

    def __init__(
        self,
        own: ec.EllipticCurvePrivateKey,
        trusted: Mapping[str, Sequence[ec.EllipticCurvePublicKey]],
    ) -> None:
        self._own = own
        self._trusted = trusted

    def close(self, place: str, publisher: str, frame: bytes) -> bytes:
        """Return a frame in its envelope."""
        der = self._own.sign(_said(place, publisher, frame), _ES256)
        r, s = decode_dss_signature(der)
        name = publisher.encode()
        head = _MAGIC + bytes([_VERSION, len(name)]) + name
        return head + r.to_bytes(_HALF) + s.to_bytes(_HALF) + frame

    def open(self, place: str, publisher: str, payload: bytes) -> bytes:
        """Return the frame in a payload. Raises FrameError where nobody vouches."""
        if not payload.startswith(_MAGIC):
            raise FrameError(FaultKind.SIGNATURE, "unsigned")
        signer, signature, frame = _apart(payload)
        _check_name(signer, publisher)
        said = _said(place, signer, frame)
        r, s = (int.from_bytes(signature[at : at + _HALF]) for at in (0, _HALF))
        der = encode_dss_signature(r, s)
        for key in self._trusted.get(signer.partition(".")[0], ()):
            try:
                key.verify(der, said, _ES256)
            except InvalidSignature:
                continue
            return frame
        raise FrameError(FaultKind.SIGNATURE, "signature")


def _said(place: str, publisher: str, frame: bytes) -> bytes:
    return f"fastgate frame {_VERSION}\n{place}\n{publisher}\n".encode() + frame


def _apart(payload: bytes) -> tuple[str, bytes, bytes]:
    head = len(_MAGIC) + 2
    if len(payload) < head or payload[2] != _VERSION:
        raise FrameError(FaultKind.VERSION, "envelope")
    end = head + payload[3]
    if len(payload) < end + 2 * _HALF:
        raise FrameError(FaultKind.MALFORMED, "envelope")
    try:
        signer = payload[head:end].decode("ascii")
    except UnicodeDecodeError:
        raise FrameError(FaultKind.MALFORMED, "envelope") from None
    if not PUBLISHER.fullmatch(signer):
        raise FrameError(FaultKind.MALFORMED, "envelope")
    return signer, payload[end : end + 2 * _HALF], payload[end + 2 * _HALF :]


def _check_name(signer: str, publisher: str) -> None:
    if publisher not in {"", signer}:
        raise FrameError(FaultKind.FOREIGN, "envelope")
