"""Gates for tests: compiled and uncompiled, over a real cache, index, keys and routes.

Called by: the tests of the gate. Nothing here stands in for a part of the product.
"""

import functools
import importlib.util
import mmap
import pathlib
import sys
from dataclasses import replace
from types import ModuleType
from typing import Any

from tests.tokens import AUDIENCE, ISSUER, SigningKey, signing_key
from tests.tokens import token as signed_token

from fastgate._ext import revocations
from fastgate._ext.decisions import DecisionCache
from fastgate.adapters.shared_document import SharedDocument
from fastgate.adapters.status_board import StatusBoard
from fastgate.domain.decision import Asked, Decision
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.keys import IssuerKeys
from fastgate.domain.region import RegionCookie, RegionSet
from fastgate.domain.request import RequestHead
from fastgate.domain.revocation import EVERYTHING, KeyHasher, Kind
from fastgate.domain.route import Route, RouteTable, Service
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.token import ACCESS_TOKEN_TYPES, Introspection, IssuerProfile
from fastgate.domain.verdict import Verdict
from fastgate.hotpath import failures as compiled_failures
from fastgate.hotpath import gate as compiled_gate
from fastgate.hotpath.keys import build_keys

NOW = 1_800_000_000
BOOT_NS = 10**12
SECOND_NS = 10**9
HASH_KEY = b"k" * 32
EU, US, AP = 0, 1, 2
REGIONS = RegionSet(
    names=("eu", "us", "ap"),
    default=EU,
    own=AP,
    claims=("region", "zone"),
    cookie=RegionCookie("region"),
)
EVERYWHERE = Service("orders", (("http://eu",), ("http://us",), ("http://ap",)))
INTROSPECTION = Introspection(("http://i",) * 3, "gateway", "secret")
# In the order in which they need one another.
PURE = ("token_rules", "facts", "failures", "plan", "gate")


@functools.cache
def gate_module(build: str) -> ModuleType:
    """Return the product's gate, or ("uncompiled") the same sources as plain Python."""
    if build == "compiled":
        return compiled_gate
    folder = pathlib.Path(compiled_gate.__file__).parent
    names = [f"fastgate.hotpath.{name}" for name in PURE]
    kept = {name: sys.modules[name] for name in names}
    try:
        for name in names:
            path = folder / f"{name.rpartition('.')[2]}.py"
            spec = importlib.util.spec_from_file_location(name, path)
            sys.modules[name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules[name])
        return sys.modules["fastgate.hotpath.gate"]
    finally:
        sys.modules.update(kept)


def failures_class(build: str) -> type:
    """Return the class that bounds failures, of the same build as the gate."""
    module = compiled_failures if build == "compiled" else gate_module(build)
    found: type = module.Failures
    return found


def profile(index: int = 0, **changes: Any) -> IssuerProfile:
    """Return the profile of an issuer; the first one is tests.tokens.ISSUER."""
    issuer = ISSUER if index == 0 else f"https://issuer{index}.example"
    fields: dict[str, Any] = {
        "index": index,
        "alias": f"issuer{index}",
        "issuer": issuer,
        "audience": frozenset({AUDIENCE}),
        "algorithms": frozenset({"ES256"}),
        "types": ACCESS_TOKEN_TYPES,
        "leeway_s": 5,
        "max_lifetime_s": 3600,
        "iat_required": False,
        "wrapped": False,
        "region_claims": REGIONS.claims,
        "grant_claims": ("grant_id",),
        "require": (),
        "max_token_bytes": 8192,
        "hasher": KeyHasher(HASH_KEY, issuer),
        "home_origin": EU,
        "introspection": INTROSPECTION,
    }
    return IssuerProfile(**(fields | changes))


def keys_of(*keys: SigningKey, last_fetch_ok: bool = True) -> IssuerKeys:
    """Return the set of these keys, as a worker builds it."""
    return build_keys([key.jwk() for key in keys], last_fetch_ok)


def jwt(**changes: Any) -> bytes:
    """Return a token that is valid at NOW, unless changed."""
    return signed_token(changes.pop("key", None), now=NOW, **changes)


def claims_answer(
    document: bytes, *, asked_boot_ns: int = BOOT_NS
) -> IntrospectionAnswer:
    """Return an answer of RFC 7662 members."""
    return IntrospectionAnswer(AnswerKind.CLAIMS, document, asked_boot_ns)


def phantom_answer(
    token: bytes, *, asked_boot_ns: int = BOOT_NS
) -> IntrospectionAnswer:
    """Return an answer that carries a JWT."""
    return IntrospectionAnswer(AnswerKind.JWT, token, asked_boot_ns)


def outcome(decision: Decision) -> str:
    """Return the verdict in one word, or the reason of a refusal."""
    assert decision.verdict is not Verdict.UNDECIDED
    if decision.verdict is Verdict.DENY:
        return decision.reason.value
    assert decision.reason is None
    return decision.verdict.name.lower()


class World:
    """One gate with all that it stands on; tests move the clocks and change the state.

    wall_s, boot_ns: The instants of the next decision.
    profile: Of the issuer. route: The one under "/orders/".
    """

    def __init__(self, build: str = "compiled", **route: Any) -> None:
        self.wall_s = NOW
        self.boot_ns = BOOT_NS
        arena_bytes, control_bytes = revocations.layout(1000)
        sizes = (control_bytes, arena_bytes, arena_bytes, revocations.SLOTS_BYTES)
        memory = [mmap.mmap(-1, size) for size in sizes]
        self.writer = revocations.RevocationWriter(*memory, origins=3, now_s=NOW)
        self.reader = revocations.RevocationReader(*memory, 0)
        for origin in (EU, US, AP):
            self.writer.set_evidence(origin, BOOT_NS)
        self.cache = DecisionCache(1000)
        self.failures = failures_class(build)()
        directory = SharedDocument(bytearray(8192), writable=True)
        self.statuses = StatusBoard(directory, memoryview(bytearray(1 << 20)))
        self.gate = gate_module(build).Gate(
            self.cache, self.reader, self.failures, self.statuses
        )
        self.profile = profile()
        self.route = Route(
            0,
            "orders",
            "/orders/",
            EVERYWHERE,
            issuer=self.profile,
            scope=frozenset({"orders"}),
            **({"accept_opaque": True} | route),
        )
        self.snapshot = Snapshot(
            version=1,
            source_hash="",
            node="n1",
            regions=REGIONS,
            origins=(EU, US, AP),
            origin_names=REGIONS.names,
            services=(EVERYWHERE,),
            issuers=(self.profile,),
            keys=(keys_of(signing_key()),),
            routes=RouteTable([self.route]),
        )

    def use_routes(self, *routes: Route) -> None:
        """Serve these routes from now on."""
        issuers = {r.issuer.index: r.issuer for r in routes if r.issuer is not None}
        numbered = [replace(route, index=n) for n, route in enumerate(routes)]
        self.route = numbered[0]
        self.snapshot = replace(
            self.snapshot,
            routes=RouteTable(numbered),
            issuers=tuple(issuers[n] for n in sorted(issuers)),
            keys=self.snapshot.keys * len(issuers),
        )

    def use_profile(self, **changes: Any) -> None:
        """Change what is accepted of the issuer."""
        self.profile = profile(**changes)
        self.use_routes(replace(self.route, issuer=self.profile))

    def use_route(self, **changes: Any) -> None:
        """Change the one route."""
        self.use_routes(replace(self.route, **changes))

    def use_keys(self, *keys: SigningKey, last_fetch_ok: bool = True) -> None:
        """Swap the issuer's key set, as after a fetch."""
        held = keys_of(*keys, last_fetch_ok=last_fetch_ok)
        self.snapshot = self.snapshot.with_keys((held,) * len(self.snapshot.issuers))

    def revoke(self, kind: Kind, value: str, cutoff: int = EVERYTHING) -> None:
        """Enter a revocation, by the hash that travels."""
        key = self.profile.hasher.key(kind, value)
        assert self.writer.insert(key, cutoff, NOW + 86_400) in {1, 2}

    def publish_list(
        self, uri: str, raw: bytes, *, bits: int = 1, fresh_s: float = 60
    ) -> None:
        """Publish a status list of the issuer, as the agent does after a fetch."""
        self.statuses.put(
            f"{self.profile.alias}\n{uri}",
            raw,
            bits,
            until_ns=self.boot_ns + round(fresh_s * SECOND_NS),
            now_ns=self.boot_ns,
        )

    def let_pass(self, seconds: float) -> None:
        """Move both clocks."""
        self.wall_s += round(seconds)
        self.boot_ns += round(seconds * SECOND_NS)

    def hear_from(self, *origins: int) -> None:
        """Let the feed be complete as of now for these origins, or all."""
        for origin in origins or (EU, US, AP):
            self.writer.set_evidence(origin, self.boot_ns)

    def decide(self, head: RequestHead, **how: Any) -> Decision:
        """Judge a head as it is."""
        return self.gate.decide(head, self.snapshot, self.wall_s, self.boot_ns, **how)

    def ask(
        self,
        token: bytes | None = None,
        *,
        path: str = "/orders/1",
        asked: Asked | None = None,
        trace: list[tuple[str, str]] | None = None,
        **head: Any,
    ) -> Decision:
        """Judge a GET that carries this token."""
        if token is not None:
            head["authorization"] = b"Bearer " + token
        made = RequestHead("GET", path, **head)
        return self.decide(made, asked=asked, trace=trace)

    def told(self, token: bytes, answer: IntrospectionAnswer, **how: Any) -> Decision:
        """Judge a GET about whose token the issuer has answered."""
        asked = Asked()
        asked.introspection = answer
        return self.ask(token, asked=asked, **how)
