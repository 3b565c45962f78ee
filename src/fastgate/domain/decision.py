"""Decision: the value the gate returns for one request.

Owns:      the shape only.
Called by: hotpath.gate makes it; lanes, log and explanations read it.
"""

from fastgate.domain.introspection import IntrospectionAnswer
from fastgate.domain.region import NO_REGION, RegionSource
from fastgate.domain.route import Route
from fastgate.domain.token import TokenFacts
from fastgate.domain.verdict import Reason, Verdict

__all__ = ["Asked", "Decision"]


class Asked:
    """What a lane found out for the gate between two calls.

    key_asked: The agent was asked about this kid; the gate does not ask twice, and
        the snapshot it is called with next holds whatever was found.
    introspection: The issuer's answer about the credential, None until asked.
    """

    __slots__ = ("introspection", "key_asked")

    def __init__(self) -> None:
        self.key_asked = False
        self.introspection: IntrospectionAnswer | None = None


class Decision:
    """The outcome of the checks.

    verdict: Compare with `is`.
    reason: Why, for DENY; None otherwise.
    route: The matched route; None before one was found.
    facts: What is known of the token; None without one.
    token: The JWT to forward in place of the credential; b"" forwards none.
    region: Index of the region to go to; source says who named it, conflict who lost.
    repair_cookie: The client's region cookie is wrong and the region is certain.
    cache: "hit", "miss" or "" where no token was judged.
    kind: "jwt", "opaque", "wrapped" or "none".
    age_ms: Age of the revocation evidence of the token's home; -1 where not judged.
    decided_boot_ns: The caller's clock; older than a second by the write: decide again.
    stale_question: ASK_INTROSPECTION because the feed is stale, not the token opaque.
    """

    __slots__ = (
        "age_ms",
        "cache",
        "conflict",
        "decided_boot_ns",
        "facts",
        "kind",
        "reason",
        "region",
        "repair_cookie",
        "route",
        "source",
        "stale_question",
        "token",
        "verdict",
    )

    def __init__(self, decided_boot_ns: int) -> None:
        self.verdict = Verdict.UNDECIDED
        self.reason: Reason | None = None
        self.route: Route | None = None
        self.facts: TokenFacts | None = None
        self.token = b""
        self.region = NO_REGION
        self.source = RegionSource.DEFAULT
        self.conflict: RegionSource | None = None
        self.repair_cookie = False
        self.cache = ""
        self.kind = "none"
        self.age_ms = -1
        self.decided_boot_ns = decided_boot_ns
        self.stale_question = False
