"""Issuer metadata: where the key set is, according to the issuer itself.

Owns:      nothing; pure.
Called by: control.key_policy; control.ssf_metadata reads URLs as strictly.
Source:    RFC 8414 section 3.3, OpenID Connect Discovery section 4.3; PROTOCOLS.md
           section 11.
"""

from http import HTTPStatus
from urllib.parse import urlsplit

from fastgate.control.json_document import JsonError, read_object
from fastgate.ports import Fetched

__all__ = ["MetadataError", "is_plain_url", "read_jwks_url", "read_metadata"]

_MAX_URL = 2048


class MetadataError(ValueError):
    """The document cannot be used; `code` is stable and safe to show."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def read_metadata(answer: Fetched, *, issuer: str) -> dict[str, object]:
    """Return a metadata document.

    issuer: Exact name it must carry, so that nobody answers for another.
    Raises MetadataError.
    """
    if answer.status != HTTPStatus.OK:
        raise MetadataError(f"metadata_status_{answer.status}")
    try:
        document = read_object(answer.body)
    except JsonError:
        raise MetadataError("metadata_no_json") from None
    if document.get("issuer") != issuer:
        raise MetadataError("metadata_wrong_issuer")
    return document


def read_jwks_url(answer: Fetched, *, issuer: str) -> str:
    """Return `jwks_uri` of a metadata document.

    issuer: Exact name the document must carry, so that nobody answers for another.
    Raises MetadataError. An https issuer cannot move its keys to plain http.
    """
    document = read_metadata(answer, issuer=issuer)
    url = document.get("jwks_uri")
    if not isinstance(url, str) or not is_plain_url(url):
        raise MetadataError("metadata_bad_jwks_uri")
    if issuer.startswith("https:") and not url.startswith("https:"):
        raise MetadataError("metadata_jwks_uri_not_https")
    return url


def is_plain_url(url: str) -> bool:
    """Tell whether a URL of a document is one to be fetched, and nothing else."""
    if len(url) > _MAX_URL or not all("!" <= mark <= "~" for mark in url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme not in {"https", "http"} or not host:
        return False
    return "@" not in parts.netloc and "#" not in url
