# cython: annotation_typing=False
"""Plan: the routes of one snapshot, laid out so that a request reads C fields only.

Owns:      one table per snapshot, immutable, made when the gate first sees it.
Called by: hotpath.gate alone.

Compiled with the gate, which reads these fields through plan.pxd.
"""

from hashlib import sha256

import cython

from fastgate.domain.region import RegionSet
from fastgate.domain.route import Route
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.target import other_readings
from fastgate.domain.token import IssuerProfile
from fastgate.hotpath.facts import FactsMaker
from fastgate.hotpath.native import ClaimNames
from fastgate.hotpath.token_rules import TokenRules

__all__ = ["Plan", "Table"]

# How the tokens of one profile are read; shared by its routes.
Reading = tuple[ClaimNames, TokenRules, FactsMaker]


def _reading(profile: IssuerProfile, regions: RegionSet) -> Reading:
    names = ClaimNames(
        region=profile.region_claims,
        grant=profile.grant_claims,
        require=profile.require,
        max_token_bytes=profile.max_token_bytes,
    )
    return names, TokenRules(profile), FactsMaker(profile, regions)


@cython.final
@cython.cclass
class Plan:
    """One route of one snapshot.

    digest: Begins what is hashed for the decision cache: the profile, and the names of
        the regions, since facts hold an index into them. phantom_digest: The same for
        phantom tokens, which are not read by all rules that a client's own token is.
    audience, scope: None where nothing is demanded.
    open: No token is looked at.
    """

    def __init__(
        self, route: Route, snapshot: Snapshot, reading: dict[bytes, Reading]
    ) -> None:
        self.route = route
        self.offered = route.service.upstreams
        self.oauth = route.oauth
        self.open = route.issuer is None
        self.accept_jwt = route.accept_jwt
        self.encoded_slashes = route.encoded_slashes
        profile = route.issuer
        if profile is None:
            return
        self.profile = profile
        mark = profile.digest + "\n".join(snapshot.regions.names).encode()
        self.digest = sha256(mark).digest()
        self.phantom_digest = sha256(b"phantom\n" + mark).digest()
        if profile.digest not in reading:
            reading[profile.digest] = _reading(profile, snapshot.regions)
        self.claim_names, self.rules, self.maker = reading[profile.digest]
        self.wrapped = profile.wrapped
        self.leeway_s = profile.leeway_s
        self.max_token_bytes = profile.max_token_bytes
        self.home_origin = profile.home_origin
        self.keys = snapshot.keys[profile.index]
        self.by_kid = dict(self.keys.by_kid)
        self.thumbprints = self.keys.thumbprints
        self.audience = route.audience or profile.audience or None
        self.scope = route.scope or None
        self.max_staleness_ns = route.max_staleness_ns
        self.global_max_staleness_ns = route.global_max_staleness_ns


@cython.final
@cython.cclass
class Table:
    """All plans of one snapshot.

    region_names: What routing hints are read with. ages: The log wants the age of the
        evidence.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.regions = snapshot.regions
        self.origins = snapshot.origins
        self.every_origin = range(len(snapshot.origin_names))
        self.ages = snapshot.access_log
        self.region_names = ClaimNames(region=snapshot.regions.claims)
        reading: dict[bytes, Reading] = {}
        self.plans = {
            prefix: Plan(route, snapshot, reading)
            for prefix, route in snapshot.routes.by_prefix.items()
        }
        self.root = self.plans.get("")
        self.depth = snapshot.routes.depth

    def match(self, path: str) -> Plan | None:
        """Return the plan with the longest prefix of `path` on a segment border."""
        end = 0
        for _ in range(self.depth):
            end = path.find("/", end + 1)
            if end < 0:
                end = len(path)
                break
        while end > 0:
            plan = self.plans.get(path[:end])
            if plan is not None:
                return plan
            end = path.rfind("/", 0, end)
        return self.root

    def is_clear(self, path: str, plan: Plan) -> bool:
        """Tell whether every reading of `path` that some server has means `plan`.

        Otherwise a route that asks for less would lead to what another one guards
        (THREATS.md T7).
        """
        return all(
            reading is not None and self.match(reading) is plan
            for reading in other_readings(path)
        )
