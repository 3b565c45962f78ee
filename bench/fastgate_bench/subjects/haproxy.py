"""HAProxy: as a plain proxy, and with every check that its converters can express.

Owns:      two configurations.
Called by: peers.
Source:    HAProxy 2.6 configuration manual: jwt_verify, jwt_header_query,
           jwt_payload_query, http_auth_bearer; section 7.1 (pattern files).
"""

from typing import Final

from fastgate_bench.gateways import BASIC_CHECKS, Place, Subject, find_program
from fastgate_bench.tokens import AUDIENCE, ISSUER

__all__ = ["HAPROXY_JWT", "HAPROXY_PLAIN"]

_INSTALL: Final = "apt-get install haproxy"
_CONFIG: Final = """
global
  nbthread 1
  maxconn 8000
{log}
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 2s
  timeout http-request 10s
  option http-keep-alive
  http-reuse always
{defaults}
frontend data
  bind 127.0.0.1:{port}
{checks}
  default_backend eu
backend eu
  server eu 127.0.0.1:{upstream}
backend us
  server us 127.0.0.1:{upstream}
"""
# The order of fastgate's gate, as far as it goes; the claims are read after the
# signature, and the identity headers of a client are removed.
_CHECKS: Final = """
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
  http-request deny deny_status 401 unless {{ \
var(txn.bearer),jwt_verify(txn.alg,"{pem}") 1 }}
  http-request set-var(txn.iss) var(txn.bearer),jwt_payload_query('$.iss')
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {issuer} }}
  http-request set-var(txn.exp) var(txn.bearer),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 if {{ \
var(txn.exp),sub(txn.now) -m int lt 0 }}
  http-request set-var(txn.jti) var(txn.bearer),jwt_payload_query('$.jti')
  http-request deny deny_status 401 if {{ var(txn.jti) -m str -f {revoked} }}
  http-request set-var(txn.aud) var(txn.bearer),jwt_payload_query('$.aud')
  http-request deny deny_status 401 unless {{ var(txn.aud) -m str {audience} }}
  http-request set-var(txn.scope) var(txn.bearer),jwt_payload_query('$.scope')
  http-request deny deny_status 403 unless {{ var(txn.scope) -m sub orders }}
  http-request set-var(txn.region) var(txn.bearer),jwt_payload_query('$.region')
  http-request del-header x-fastgate- -m beg
  http-request set-header X-Fastgate-Subject \
%[var(txn.bearer),jwt_payload_query('$.sub')]
  use_backend us if {{ var(txn.region) -m str us }}
"""


def _command(place: Place, checks: str) -> list[str]:
    log, defaults = "", ""
    if place.access_log:
        log = "  log stdout format raw local0"
        defaults = "  log global\n  option httplog"
    text = _CONFIG.format(
        port=place.port,
        upstream=place.upstream_port,
        checks=checks,
        log=log,
        defaults=defaults,
    )
    path = place.folder / "haproxy.cfg"
    path.write_text(text, "utf-8")
    return [find_program("haproxy"), "-db", "-f", str(path)]


def _plain(place: Place) -> list[str]:
    return _command(place, "")


def _jwt(place: Place) -> list[str]:
    pem = place.folder / "issuer.pem"
    pem.write_bytes(place.issuer.pem())
    checks = _CHECKS.format(
        pem=pem, issuer=ISSUER, audience=AUDIENCE, revoked=place.revoked
    )
    return _command(place, checks)


HAPROXY_PLAIN: Final = Subject(
    *("haproxy-plain", _plain, "haproxy", _INSTALL),
    lacks="no check at all: a plain proxy",
)
HAPROXY_JWT: Final = Subject(
    *("haproxy-jwt", _jwt, "haproxy", _INSTALL),
    refuses=(*BASIC_CHECKS, "revoked"),
    lacks="no token cache; revoked by token id alone, from a file read at start; no "
    "freshness; duplicate members and spare bits are not refused",
)
