# cython: annotation_typing=False
"""Decision: the value the gate returns for one request.

Owns:      the shape only.
Called by: hotpath.gate makes it; lanes, log and explanations read it.

Compiled with the gate, which makes one for every request (decision.pxd).
"""

import cython

from fastgate.domain.introspection import IntrospectionAnswer  # noqa: TC001
from fastgate.domain.region import NO_REGION, RegionSource
from fastgate.domain.route import Route  # noqa: TC001
from fastgate.domain.token import TokenFacts  # noqa: TC001
from fastgate.domain.verdict import Reason, Verdict

__all__ = ["Asked", "Decision"]

# An attribute of an enum costs 30 ns, and each decision begins with these.
_UNDECIDED = Verdict.UNDECIDED
_DEFAULT = RegionSource.DEFAULT


class Asked:
    """What a lane found out for the gate between two calls.

    key_asked: The agent was asked about this kid; the gate does not ask twice, and
        the snapshot it is called with next holds whatever was found.
    failed_keys: Thumbprints of keys that refused the signature before, in either lane;
        they are not tried again, nor is the client charged again.
    missed: The decision cache did not hold the token when the request came; what a
        later decision finds there is no hit of this request.
    introspection: The issuer's answer about the credential, None until asked.
    """

    __slots__ = ("failed_keys", "introspection", "key_asked", "missed")

    def __init__(self) -> None:
        self.key_asked = False
        self.failed_keys: tuple[bytes, ...] = ()
        self.missed = False
        self.introspection: IntrospectionAnswer | None = None

    def learn(self, decision: "Decision") -> None:
        """Note what an earlier look at the same request has cost already."""
        self.failed_keys = decision.failed_keys
        self.missed = self.missed or decision.cache == "miss"

    def key_answered(self, decision: "Decision") -> None:
        """Note that the agent was asked what `decision` wanted to know."""
        self.key_asked = True
        self.learn(decision)


@cython.final
@cython.cclass
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
    credential: The token to ask the issuer about, for ASK_INTROSPECTION.
    ask_kid: The kid to ask the agent for, for ASK_KEY; None: a known kid failed to
        verify.
    failed_keys: Thumbprints of all keys that refused the signature.
    """

    def __init__(self) -> None:
        self.verdict = _UNDECIDED
        self.reason: Reason | None = None
        self.route: Route | None = None
        self.facts: TokenFacts | None = None
        self.token = b""
        self.region = NO_REGION
        self.source = _DEFAULT
        self.conflict: RegionSource | None = None
        self.repair_cookie = False
        self.cache = ""
        self.kind = "none"
        self.age_ms = -1
        self.decided_boot_ns = 0
        self.stale_question = False
        self.credential = b""
        self.ask_kid: str | None = None
        self.failed_keys: tuple[bytes, ...] = ()
