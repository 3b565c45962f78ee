"""Transmitter metadata: where a transmitter of security events is asked what.

Owns:      nothing; pure.
Called by: control.stream_keeper.
Source:    SSF 1.0 section 7; PROTOCOLS.md section 7.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from fastgate.control.discovery import MetadataError, is_plain_url, read_metadata
from fastgate.errors import BadAnswerError, ControlError
from fastgate.ports import Fetched

__all__ = ["POLL", "PUSH", "Transmitter", "metadata_url", "read_transmitter"]

PUSH, POLL = "urn:ietf:rfc:8935", "urn:ietf:rfc:8936"
_WELL_KNOWN = "/.well-known/ssf-configuration"
_MAX_CRITICAL = 64


@dataclass(frozen=True, slots=True)
class Transmitter:
    """What a transmitter offers; an endpoint that it has not is None.

    methods: How it delivers; empty where it does not say.
    critical: Members of complex subjects that must not be passed over.
    """

    configuration: str
    status: str | None
    verification: str | None
    methods: frozenset[str]
    critical: frozenset[str]


def metadata_url(issuer: str) -> str:
    """Return where a transmitter's metadata are: inserted between host and path."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{path}"


def read_transmitter(answer: Fetched, *, issuer: str) -> Transmitter:
    """Return what a metadata document says.

    issuer: Exact name it must carry, so that nobody answers for another.
    Raises ControlError. An https issuer cannot have endpoints in plain http.
    """
    if answer.status != HTTPStatus.OK:
        raise ControlError(f"metadata_status_{answer.status}")
    try:
        document = read_metadata(answer, issuer=issuer)
    except MetadataError as fault:
        raise BadAnswerError(fault.code) from None
    configuration = _endpoint(document, "configuration_endpoint", issuer)
    if configuration is None:
        raise BadAnswerError("metadata_no_configuration_endpoint")
    return Transmitter(
        configuration=configuration,
        status=_endpoint(document, "status_endpoint", issuer),
        verification=_endpoint(document, "verification_endpoint", issuer),
        methods=_names(document, "delivery_methods_supported"),
        critical=_names(document, "critical_subject_members"),
    )


def _endpoint(document: Mapping[str, object], name: str, issuer: str) -> str | None:
    url = document.get(name)
    if url is None:
        return None
    if not isinstance(url, str) or not is_plain_url(url):
        raise BadAnswerError(f"metadata_bad_{name}")
    if issuer.startswith("https:") and not url.startswith("https:"):
        raise BadAnswerError(f"metadata_{name}_not_https")
    return url


def _names(document: Mapping[str, object], name: str) -> frozenset[str]:
    found = document.get(name, [])
    if not isinstance(found, list) or len(found) > _MAX_CRITICAL:
        raise BadAnswerError(f"metadata_bad_{name}")
    return frozenset(each for each in found if isinstance(each, str))
