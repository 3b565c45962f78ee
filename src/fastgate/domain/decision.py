"""Decision: the value the gate returns for one request.

Owns:      the shape only.
Called by: hotpath.gate makes it; lanes, log and explanations read it.
"""

from fastgate.domain.introspection import IntrospectionAnswer  # noqa: TC001
from fastgate.domain.region import NO_REGION, RegionSource
from fastgate.domain.route import Route
from fastgate.domain.token import TokenFacts
from fastgate.domain.verdict import Reason, Verdict

__all__ = ["Asked", "Decision"]


class Asked:
    """What a lane found out for the gate between two calls.

    key_asked: The agent was asked about this kid; the gate does not ask twice, and
        the snapshot it is called with next holds whatever was found.
    failed_key: Thumbprint of the key that refused the signature before the agent was
        asked; the same key is not tried again.
    introspection: The issuer's answer about the credential, None until asked.
    """

    __slots__ = ("failed_key", "introspection", "key_asked")

    def __init__(self) -> None:
        self.key_asked = False
        self.failed_key = b""
        self.introspection: IntrospectionAnswer | None = None

    def key_answered(self, decision: "Decision") -> None:
        """Note that the agent was asked what `decision` wanted to know."""
        self.key_asked = True
        self.failed_key = decision.failed_key


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
        verify, and failed_key is its thumbprint.
    """

    # Defaults live on the class: most requests change a few, and making one must be
    # cheap enough for every request.
    verdict: Verdict = Verdict.UNDECIDED
    reason: Reason | None = None
    route: Route | None = None
    facts: TokenFacts | None = None
    token: bytes = b""
    region: int = NO_REGION
    source: RegionSource = RegionSource.DEFAULT
    conflict: RegionSource | None = None
    repair_cookie: bool = False
    cache: str = ""
    kind: str = "none"
    age_ms: int = -1
    decided_boot_ns: int = 0
    stale_question: bool = False
    credential: bytes = b""
    ask_kid: str | None = None
    failed_key: bytes = b""
