"""Models to the snapshot that requests read."""

from datetime import timedelta

import pytest
from tests.config.documents import BASE, changed, example, load_text

from fastgate.config.compile import compile_snapshot
from fastgate.config.model import Config
from fastgate.domain.revocation import Kind
from fastgate.domain.route import OnStale


def compiled(folder, text, environ=None):
    config = load_text(folder, text, environ).require()
    return compile_snapshot(config, version=3)


def test_example_compiles_to_what_it_says(tmp_path):
    """Names are resolved to indices and values to units that need no thought."""
    snapshot = compiled(tmp_path, example(tmp_path))
    assert snapshot.version == 3
    assert snapshot.regions.names == ("eu", "us", "ap")
    assert (snapshot.regions.own, snapshot.regions.default) == (0, 0)
    assert snapshot.origin_names == ("eu", "us", "ap")
    assert snapshot.origins == (0, 1, 2)
    orders, identity, public = snapshot.routes.routes
    assert orders.service.upstreams == (
        ("http://10.0.1.5:9000",),
        ("http://10.1.1.5:9000",),
        (),
    )
    assert orders.issuer is snapshot.issuers[0]
    assert (orders.accept_jwt, orders.accept_opaque) == (True, True)
    assert (orders.scope, orders.scope_text) == (frozenset({"orders"}), "orders")
    assert orders.max_staleness_ns == 10_000_000_000
    assert orders.on_stale is OnStale.DENY
    assert identity.oauth
    assert identity.issuer is None
    assert public.issuer is None
    assert snapshot.route_names() == ("orders", "oauth.v2", "public")
    login = snapshot.issuers[0]
    assert login.audience == frozenset({"api"})
    assert login.types == frozenset({"at+jwt", "jwt", None})
    assert login.max_lifetime_s == 3600
    assert login.introspection is not None
    assert len(login.introspection.urls) == 3
    assert login.introspection.client_secret == "s3cret"
    assert len(snapshot.keys) == 1


def test_every_process_compiles_the_same(tmp_path):
    """Workers read the document of the agent; cached facts must mean the same."""
    config = load_text(tmp_path, example(tmp_path)).require()
    copy = Config.from_document(config.to_document())
    one, other = (compile_snapshot(c, version=1) for c in (config, copy))
    assert one.source_hash == other.source_hash
    assert one.node == other.node
    assert [p.digest for p in one.issuers] == [p.digest for p in other.issuers]


def test_local_bus_stands_in_for_every_origin(tmp_path):
    """With the journal of this host only, each region's freshness is the node's own."""
    snapshot = compiled(tmp_path, changed("region: eu\n", "region: us\n"))
    assert snapshot.origin_names == ("us",)
    assert snapshot.origins == (0, 0)
    assert snapshot.issuers[0].home_origin == 0


def test_home_of_an_issuer_is_its_origin_on_a_shared_bus(tmp_path):
    """Client, key and issuer revocations come from one origin."""
    bus = "revocation: {bus: 'nats://127.0.0.1:4222', origins: [us, hq, eu]}\n"
    snapshot = compiled(tmp_path, BASE + bus)
    assert snapshot.origin_names == ("us", "hq", "eu")
    assert snapshot.origins == (2, 0)
    assert snapshot.issuers[0].home_origin == 2
    named = changed("    audience:", "    home: hq\n    audience:") + bus
    assert compiled(tmp_path, named).issuers[0].home_origin == 1


def test_hash_key_decides_the_revocation_keys(tmp_path):
    """Two deployments with other keys share no hash, and no cached fact either."""
    key = {"FASTGATE_REVOCATION__HASH_KEY": "0123456789abcdef"}
    plain = compiled(tmp_path, BASE).issuers[0]
    keyed = compiled(tmp_path, BASE, key).issuers[0]
    assert plain.hasher.key(Kind.SUB, "a") != keyed.hasher.key(Kind.SUB, "a")
    assert plain.digest != keyed.digest


def test_old_hash_key_is_looked_up_as_well(tmp_path):
    """While it is rotated, what was revoked under it stays revoked."""
    old, new = "0123456789abcdef", "fedcba9876543210"
    text = BASE + f"revocation: {{old_hash_keys: ['{old}']}}\n"
    key = {"FASTGATE_REVOCATION__HASH_KEY": new}
    [hasher] = compiled(tmp_path, text, key).issuers[0].old_hashers
    before = {"FASTGATE_REVOCATION__HASH_KEY": old}
    first = compiled(tmp_path, BASE, before).issuers[0].hasher
    assert hasher.key(Kind.SUB, "a") == first.key(Kind.SUB, "a")


def test_route_takes_its_own_timers_over_the_general_ones(tmp_path):
    """What a route leaves unset comes from `timeouts`."""
    text = changed("login}", "login}\n    timeouts: {connect: 50ms, total: 9s}")
    route = compiled(tmp_path, text + "timeouts: {upstream_idle: 7s}\n").routes.routes[
        0
    ]
    assert route.connect_timeout_s == 0.05
    assert route.total_timeout_s == 9
    assert route.idle_timeout_s == 7
    assert route.upstream_timeout_s == 30


def test_strict_types_and_every_limit_arrive(tmp_path):
    """A setting that is accepted is found again in the snapshot."""
    text = changed(
        "    audience:",
        "    typ: [Application/AT+JWT]\n    leeway: 9s\n    iat_required: false\n"
        "    wrapped: false\n    require: [jti]\n    grant_claims: [gid]\n"
        "    algorithms: [EdDSA]\n    audience:",
        "login}",
        "login, realm: shop, resource_metadata: 'https://a/m', audience: [x]}\n"
        "    freshness: {max_staleness: 20s, on_stale: allow, allow_for: 1m}\n"
        "    websocket: true\n    get_body: true\n    encoded_slashes: true\n"
        "    body_limit: 1MiB\n    debug: true",
        "default: eu",
        "default: us\n  cookie: {name: zone, max_age: 1h, domain: a.b, secure: false}",
    )
    text += (
        "limits: {connections: 5, request_line: 1KiB, header_line: 2KiB, head: 3KiB,"
        " header_count: 9, token: 1KiB, body_form: 4KiB, hops: 3,"
        " upstream_connections: 6, failed_verifications: 7,"
        " failed_verification_burst: 8}\n"
        "timeouts: {first_byte: 1s, head: 2s, body_idle: 3s, keep_alive: 4s,"
        " drain_delay: 5s, drain_timeout: 6s}\n"
        "trusted_proxies: [10.0.0.0/8]\nlog: {access: false}\nnode: gw-1\n"
    )
    snapshot = compiled(tmp_path, text)
    profile, route = snapshot.issuers[0], snapshot.routes.routes[0]
    assert profile.types == frozenset({"at+jwt"})
    assert (profile.leeway_s, profile.iat_required) == (9, False)
    assert (profile.require, profile.grant_claims) == (("jti",), ("gid",))
    assert profile.algorithms == frozenset({"EdDSA", "Ed25519"})
    assert profile.max_token_bytes == 1024
    assert (route.realm, route.resource_metadata) == ("shop", "https://a/m")
    assert route.audience == frozenset({"x"})
    assert route.allow_for_ns == 60_000_000_000
    assert route.websocket
    assert route.get_body
    assert route.encoded_slashes
    assert route.debug
    assert route.body_limit_bytes == 1 << 20
    cookie = snapshot.regions.cookie
    assert (cookie.name, cookie.max_age_s, cookie.domain) == ("zone", 3600, "a.b")
    assert not cookie.secure
    limits, timers = snapshot.limits, snapshot.timers
    assert (limits.connections, limits.request_line_bytes) == (5, 1024)
    assert (limits.header_line_bytes, limits.head_bytes) == (2048, 3072)
    assert (limits.header_count, limits.form_bytes, limits.hops) == (9, 4096, 3)
    assert limits.upstream_connections == 6
    assert (limits.failures_per_s, limits.failure_burst) == (7, 8)
    assert (timers.first_byte_s, timers.head_s, timers.body_idle_s) == (1, 2, 3)
    assert (timers.keep_alive_s, timers.drain_delay_s, timers.drain_s) == (4, 5, 6)
    assert snapshot.trusted_peers == ("10.0.0.0/8",)
    assert not snapshot.access_log
    assert snapshot.node == "gw-1"


def test_introspection_map_follows_the_order_of_regions(tmp_path):
    """A token is asked about where it lives, so each region has its endpoint."""
    asked = (
        "    introspection: {url: {us: 'https://us/', eu: 'https://eu/'}, client_id: a,"
        " client_secret: b, auth_method: post, accept: json, timeout: 500ms,"
        " phantom_member: jwt, rate: 9}\nservices:\n"
    )
    snapshot = compiled(tmp_path, changed("services:\n", asked))
    found = snapshot.issuers[0].introspection
    assert found is not None
    assert found.urls == ("https://eu/", "https://us/")
    assert found.post_credentials
    assert found.accept == "application/json"
    assert (found.timeout_s, found.phantom_member) == (0.5, "jwt")
    assert found.calls_per_s == 9


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "0.0.0.0:18080"])
def test_node_name_is_unique_for_each_gateway_of_a_host(tmp_path, listen):
    """Two gateways of one host differ by port, so their names do."""
    config = load_text(tmp_path, BASE + f"listen: {listen}\n").require()
    port = listen.rpartition(":")[2]
    assert config.node_name.endswith(f"-{port}")
    assert len(config.node_name) <= 32


def test_discovery_is_the_default_without_a_key_url(tmp_path):
    """The metadata document is appended to the issuer (OpenID Discovery section 4)."""
    text = changed("    jwks_url: https://login.example.com/jwks\n", "")
    issuer = load_text(tmp_path, text).require().issuers["login"]
    wanted = "https://login.example.com/.well-known/openid-configuration"
    assert issuer.discovery_url == wanted
    assert load_text(tmp_path, BASE).require().issuers["login"].discovery_url is None


def test_key_lifetime_is_kept_within_its_bounds(tmp_path):
    """Shorter, an outage is felt at once; longer, a withdrawn key is trusted."""
    for written, used in (("1m", 5), ("10m", 10), ("2h", 30)):
        text = changed("    audience:", f"    jwks_lifetime: {written}\n    audience:")
        issuer = load_text(tmp_path, text).require().issuers["login"]
        assert issuer.effective_jwks_lifetime == timedelta(minutes=used)
