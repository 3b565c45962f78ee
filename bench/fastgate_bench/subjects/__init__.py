"""Subjects: other gateways, each configured to do as much of the same work as it can.

Owns:      the list; one file a gateway.
Called by: peers.
"""

from fastgate_bench.subjects.envoy import ENVOY_CACHE, ENVOY_JWT, ENVOY_PLAIN
from fastgate_bench.subjects.haproxy import HAPROXY_JWT, HAPROXY_PLAIN
from fastgate_bench.subjects.nginx import NGINX_JWT, NGINX_PLAIN

__all__ = [
    "ENVOY_CACHE",
    "ENVOY_JWT",
    "ENVOY_PLAIN",
    "HAPROXY_JWT",
    "HAPROXY_PLAIN",
    "NGINX_JWT",
    "NGINX_PLAIN",
]
