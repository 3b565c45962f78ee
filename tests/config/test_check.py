"""Level 3: what a configuration means, beyond what each value may be."""

import pytest
from tests.config.documents import BASE, changed, load_text, said

from fastgate.config.problems import Level

REDIS = "revocation: {bus: 'redis://127.0.0.1', hash_key: '${KEY}'}\n"
KAFKAS = "revocation: {bus: 'kafkas://127.0.0.1', hash_key: '${KEY}'}\n"
NATS = "revocation: {bus: 'nats://127.0.0.1:4222', hash_key: '${KEY}'}\n"
KEY = {"KEY": "0123456789abcdef"}
INTROSPECTION = """\
    introspection:
      url: https://login.example.com/introspect
      client_id: gateway
      client_secret: ${KEY}
services:
"""
ROUTE = "  - {path: /b/, service: orders, token: none}\n"


def findings(folder, text, level):
    loaded = load_text(folder, text, KEY)
    return loaded, [line.partition(" ")[2] for line in said(loaded, level)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (changed("region: eu\n", "region: ap\n"), 'region: "ap" is not one of eu, us'),
        (changed("default: eu", "default: ue"), 'regions.default: "ue" is not one of'),
        (
            changed("default: eu", "default: eu\n  claims: [zone, zone]"),
            'regions.claims[1]: "zone" is listed twice',
        ),
        (
            changed("default: eu", "default: eu\n  cookie: {name: 'a b'}"),
            'regions.cookie.name: "a b" is no cookie name',
        ),
        (
            changed(
                "default: eu", "default: eu\n  cookie: {name: __Host-r, domain: a.b}"
            ),
            "regions.cookie.name: a __Host- cookie has no domain",
        ),
        (
            changed(
                "default: eu",
                "default: eu\n  cookie: {name: __Secure-r, secure: false}",
            ),
            "needs secure: true",
        ),
        (BASE + "listen: 0.0.0.0:8086\n", "status: 0.0.0.0:8086 is taken by listen"),
        (BASE + "admin: 0.0.0.0:8085\n", "admin: needs admin_token off loopback"),
        (BASE + "listen: unix:/a\n", "listen: takes an IP address and a port"),
        (BASE + "limits: {token: 16KiB}\n", "limits.token: does not fit a header line"),
        (BASE + "limits: {head: 4KiB}\n", "limits.request_line: does not fit a head"),
        (BASE + "limits: {connections: 0}\n", "limits.connections: must lie between 1"),
        (
            changed(
                "    jwks_url: https://login.example.com/jwks\n",
                "    discovery: false\n",
            ),
            "issuers.login: needs jwks_url, or discovery: true",
        ),
        (
            changed("    audience:", "    discovery: true\n    audience:"),
            "issuers.login.discovery: and jwks_url both name the keys",
        ),
        (
            changed(
                "issuer: https://login.example.com",
                "issuer: urn:login",
                "    jwks_url: https://login.example.com/jwks\n",
                "",
            ),
            "issuers.login.issuer: is no URL, so its keys cannot be discovered",
        ),
        (
            changed("    audience:", "    algorithms: [none]\n    audience:"),
            '"none" is never accepted',
        ),
        (
            changed("    audience:", "    algorithms: [hs512]\n    audience:"),
            '"hs512" is never accepted',
        ),
        (
            changed("    audience:", "    algorithms: [ES255]\n    audience:"),
            'did you mean "ES256"?',
        ),
        (
            changed(
                "    audience:", "    typ: [application/logout+jwt]\n    audience:"
            ),
            '"logout+jwt" marks a token of another purpose',
        ),
        (
            changed("    audience:", "    leeway: 61s\n    audience:"),
            "issuers.login.leeway: must lie between 0s and 60s",
        ),
        (
            changed("    audience:", "    home: ap\n    audience:"),
            'issuers.login.home: "ap" is not one of eu, us',
        ),
        (
            changed("    audience:", "    wrapped: true\n    audience:"),
            "issuers.login.wrapped: needs introspection",
        ),
        (
            changed(
                "services:\n",
                INTROSPECTION.replace(
                    "https://login.example.com/introspect",
                    "{eu: 'https://a/', xx: 'https://b/'}",
                ),
            ),
            "issuers.login.introspection.url: has no endpoint for us",
        ),
        (
            changed("[http://10.0.1.5:9000]", "[http://127.0.0.1:8080]"),
            "services.orders.eu[0]: is this gateway itself",
        ),
        (
            BASE + ROUTE.replace("/b/", "/orders"),
            "routes[1].path: matches the same requests",
        ),
        (
            BASE + ROUTE.replace("/b/", "/b/, name: orders"),
            'is called "orders" like routes[0]',
        ),
        (
            BASE + ROUTE.replace("service: orders", "service: order"),
            'routes[1].service: "order" is not one of orders; did you mean "orders"?',
        ),
        (
            BASE + ROUTE.replace(", token: none", ""),
            "routes[1]: needs token: demands, or none",
        ),
        (
            changed("{issuer: login}", "{issuer: login}\n    oauth: true"),
            "routes[0].token: no token is checked on an oauth route",
        ),
        (
            changed("{issuer: login}", "{issuer: login, accept: [jwt, opaque]}"),
            "routes[0].token.accept: opaque needs issuers.login.introspection",
        ),
        (
            changed(
                "{issuer: login}", "{issuer: login}\n    freshness: {on_stale: allow}"
            ),
            "routes[0].freshness.on_stale: allow needs allow_for",
        ),
        (
            changed(
                "{issuer: login}", "{issuer: login}\n    freshness: {allow_for: 5m}"
            ),
            "routes[0].freshness.allow_for: counts only with on_stale: allow",
        ),
        (
            changed(
                "{issuer: login}",
                "{issuer: login}\n    freshness: {on_stale: introspect}",
            ),
            "routes[0].freshness.on_stale: introspect needs issuers.login",
        ),
        (
            changed(
                "{issuer: login}", "{issuer: login}\n    freshness: {max_staleness: 4s}"
            ),
            "routes[0].freshness.max_staleness: must lie between 5s and 1h",
        ),
        (
            BASE + NATS.replace("}\n", ", redis: {copies: 1}}\n"),
            "revocation.redis: counts only on a redis bus",
        ),
        (
            BASE + REDIS.replace("}\n", ", nats: {replicas: 3}}\n"),
            "revocation.nats: counts only on a nats bus",
        ),
        (
            BASE + REDIS.replace("}\n", ", redis: {user: a}}\n"),
            "revocation.redis.user: needs the other one",
        ),
        (
            BASE + NATS.replace("}\n", ", tls: {ca: /ca.pem}}\n"),
            "revocation.tls: counts only on an encrypted bus: tls://",
        ),
        (
            BASE + KAFKAS.replace("}\n", ", tls: {key: /key.pem}}\n"),
            "revocation.tls.key: needs the other one",
        ),
        (
            BASE + KAFKAS.replace("}\n", ", kafka: {retention: 1h}}\n"),
            "revocation.kafka.retention: must be at least 13h1m5s",
        ),
        (
            BASE + KAFKAS.replace("}\n", ", kafka: {copies: 2}}\n"),
            "revocation.kafka.copies: is more than the 1 replicas",
        ),
        (
            BASE + KAFKAS.replace("}\n", ", snapshots_on_bus: true}\n"),
            "revocation.snapshots_on_bus: counts only on a NATS or Redis bus",
        ),
        (
            BASE
            + "revocation: {bus: 'nats://127.0.0.1:4222', snapshots_on_bus: true}\n",
            "revocation.snapshots_on_bus: needs hash_key",
        ),
        (
            BASE + "revocation: {snapshot_max_bytes: 1MiB}\n",
            "revocation.snapshot_max_bytes: counts only on a",
        ),
        (
            BASE + "revocation: {origins: [eu, us]}\n",
            "revocation.origins: counts only on a",
        ),
        (
            BASE + "revocation: {nats: {replicas: 3}}\n",
            "revocation.nats: counts only on a",
        ),
        (
            BASE + "revocation: {max_session_lifetime: 10m}\n",
            "revocation.max_session_lifetime: is shorter than max_token_lifetime",
        ),
        (
            BASE + NATS.replace("${KEY}", "short"),
            "revocation.hash_key: must have 16 to 64 bytes, has 5",
        ),
        (
            BASE + NATS.replace("}\n", ", origins: [eu]}\n"),
            "revocation.origins: lacks us",
        ),
        (
            BASE + NATS.replace("}\n", ", nats: {retention: 1h}}\n"),
            "revocation.nats.retention: must be at least 13h1m5s",
        ),
        (
            BASE + NATS.replace("}\n", ", nats: {user: a}}\n"),
            "revocation.nats.user: needs the other one",
        ),
    ],
)
def test_check_refuses(tmp_path, text, problem):
    """Each of these would be unsafe or could not be served."""
    loaded, errors = findings(tmp_path, text, Level.ERROR)
    assert loaded.config is None
    assert any(problem in line for line in errors), errors


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            changed("    us: [http://10.1.1.5:9000]\n", ""),
            "is not in us: 503 region_unav",
        ),
        (changed("    audience: [api]\n", ""), "routes[0].token: no audience"),
        (
            changed("https://login.example.com/jwks", "http://login.example.com/jwks"),
            "issuers.login.jwks_url: keys fetched without TLS",
        ),
        (
            changed("    audience:", "    jwks_lifetime: 1m\n    audience:"),
            "issuers.login.jwks_lifetime: 1m counts as 5m; use 5m to 30m",
        ),
        (BASE + "admin_token: ${SHORT}\n", "admin_token: is short"),
        (BASE + "debug: true\n", "debug: tells every client"),
        (
            BASE + "trusted_proxies: [0.0.0.0/0]\n",
            "believes forwarded headers of everybody",
        ),
        (
            changed(
                "{issuer: login}",
                "{issuer: login}\n    freshness: {on_stale: allow, allow_for: 5m}",
            ),
            'routes[0].freshness: on_stale "allow": bound 5m10s in place of 10s',
        ),
        (
            BASE + "revocation: {bus: 'nats://127.0.0.1:4222'}\n",
            "revocation.hash_key: is missing: identifiers travel as hashes",
        ),
        (
            BASE + NATS.replace("127.0.0.1", "bus.example.com"),
            "revocation.bus: is not encrypted",
        ),
        (
            BASE + NATS.replace("}\n", ", nats: {max_bytes: 1MiB}}\n"),
            "revocation.nats.max_bytes: holds less than capacity needs",
        ),
        (
            BASE + REDIS.replace("}\n", ", redis: {max_bytes: 1MiB}}\n"),
            "revocation.redis.max_bytes: holds less than capacity needs",
        ),
        (
            BASE + REDIS.replace("127.0.0.1", "bus.example.com"),
            "revocation.bus: is not encrypted; use rediss://HOST:PORT",
        ),
        (BASE + ROUTE.replace("none}", "none, freshness: {}}"), "has no effect"),
        (changed("{issuer: login}", "none"), "issuers.login: no route uses it"),
    ],
)
def test_check_warns(tmp_path, text, problem):
    """Each of these is served, but the operator should know."""
    loaded = load_text(tmp_path, text, {**KEY, "SHORT": "abc"})
    assert loaded.config is not None
    warnings = said(loaded, Level.WARN)
    assert any(problem in line for line in warnings), warnings


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (BASE, "routes[0]: bound 10s on this host: no revoked token passes later"),
        (BASE, "revocation: bus local: revocations stay on this host"),
        (BASE + NATS, "routes[0]: bound 10s: no revoked token passes later"),
        (BASE + NATS, "revocation: bound 5m for revoked clients, keys and issuers"),
        (
            changed(
                "services:\n",
                INTROSPECTION,
                "{issuer: login}",
                "{issuer: login}\n    freshness: {on_stale: introspect}",
            ),
            "routes[0]: bound 10s on this host, past it the issuer's own answer",
        ),
    ],
)
def test_check_states_the_bound_that_a_route_really_has(tmp_path, text, fact):
    """The promise is printed as it follows from what is configured."""
    loaded, facts = findings(tmp_path, text, Level.INFO)
    assert loaded.config is not None
    assert any(line.startswith(fact) for line in facts), facts


def test_check_is_content_with_a_whole_configuration(tmp_path):
    """Nothing is said against a configuration that has all it needs."""
    text = (
        changed("services:\n", INTROSPECTION, "login}", "login, accept: [opaque]}")
        + NATS
    )
    loaded = load_text(tmp_path, text, KEY)
    assert said(loaded) == []
    assert said(loaded, Level.WARN) == []
