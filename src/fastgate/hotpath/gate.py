"""The gate: the one order of checks, top to bottom.

framing -> route -> credential -> cheap refusals -> key -> signature -> claims ->
freshness and revocation -> audience, scope -> home region -> forward.

Owns:      references only: the decision cache, the revocation view, the maker of facts.
           It does no I/O, reads no clock and no global that changes.
Called by: both lanes, once per request and again after each question it asks.

Two rules hold for every line below. Nothing may allow before the signature; anything
may refuse before it. And what the cache remembers are facts about a signature: expiry,
freshness, revocation, audience, scope and region are judged on every request.

This is the one file of the hot path in Cython's pure-Python mode: compiled in the
product, run uncompiled in tests as well (DESIGN.md sections 4 and 5).
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import cython

from fastgate.domain.decision import Asked, Decision
from fastgate.domain.introspection import AnswerKind, IntrospectionAnswer
from fastgate.domain.keys import IssuerKeys, VerificationKey
from fastgate.domain.region import UNKNOWN_REGION, RegionSource
from fastgate.domain.request import RequestHead
from fastgate.domain.route import OnStale, Route
from fastgate.domain.snapshot import Snapshot
from fastgate.domain.token import IssuerProfile, TokenFacts
from fastgate.domain.verdict import Reason, Verdict
from fastgate.hotpath.facts import FactsMaker
from fastgate.hotpath.native import (
    TOKEN_OK,
    TOKEN_REASONS,
    ClaimNames,
    TokenScan,
    scan,
    scan_json,
)
from fastgate.hotpath.oauth import AmbiguousFormError, route_message
from fastgate.hotpath.regions import follow_cookie, settle
from fastgate.hotpath.token_rules import (
    ISSUER_FAULTS,
    UnverifiedReader,
    refuse_answer,
    refuse_cheaply,
    refuse_claims,
)
from fastgate.ports import DecisionCache, RevocationReader

__all__ = ["COMPILED", "Gate"]

COMPILED: bool = cython.compiled

FORM_TYPE = "application/x-www-form-urlencoded"
# Reason: without a kid each fitting key costs a verification (PROTOCOLS section 2).
MAX_KEYS_WITHOUT_KID = 4
# Reason: one entry per issuer profile of the current configuration; old ones go.
MAX_PROFILES = 256

EVERY_ORIGIN = -1  # a token without a region is judged by the oldest of all
CLEAR = 1
REVOKED = 2

JWS_DOTS = 2

# RFC 6750 section 2.1: b64token. Anything else in a credential is ambiguous.
TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

# An attribute of an enum costs 30 ns; the warm path reads two.
ALLOW = Verdict.ALLOW
BY_CLAIM = RegionSource.CLAIM

Trace = list[tuple[str, str]]


@cython.final
@cython.cclass
class Plan:
    """One route of one snapshot, laid out so that a request reads C fields only."""

    route: Route
    profile: IssuerProfile
    offered: tuple
    digest: bytes
    keys: IssuerKeys
    thumbprints: frozenset
    audience: frozenset | None
    scope: frozenset | None
    max_staleness_ns: int
    home_origin: int
    global_max_staleness_ns: int
    leeway_s: cython.longlong
    max_token_bytes: cython.longlong
    oauth: cython.bint
    open: cython.bint
    accept_jwt: cython.bint
    encoded_slashes: cython.bint

    def __init__(self, route: Route, snapshot: Snapshot) -> None:
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
        self.digest = profile.digest
        self.leeway_s = profile.leeway_s
        self.max_token_bytes = profile.max_token_bytes
        self.home_origin = profile.home_origin
        self.keys = snapshot.keys[profile.index]
        self.thumbprints = self.keys.thumbprints
        self.audience = route.audience or profile.audience or None
        self.scope = route.scope or None
        self.max_staleness_ns = route.max_staleness_ns
        self.global_max_staleness_ns = route.global_max_staleness_ns


@cython.final
@cython.cclass
class Table:
    """All plans of one snapshot; made once, when the snapshot is first seen."""

    snapshot: Snapshot
    origins: tuple
    plans: dict
    root: Plan | None
    depth: cython.int

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.origins = snapshot.origins
        self.plans = {
            prefix: Plan(route, snapshot)
            for prefix, route in snapshot.routes.by_prefix.items()
        }
        self.root = self.plans.get("")
        self.depth = snapshot.routes.depth

    @cython.cfunc
    def match(self, path: str) -> Plan | None:
        """Return the plan with the longest prefix of `path` on a segment border."""
        end: cython.Py_ssize_t = 0
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


@cython.final
@cython.cclass
class Known:
    """Facts as the decision cache keeps them: what each request reads, in C fields."""

    facts: TokenFacts
    thumbprint: bytes
    revocation_keys: bytes
    revocation_iat: int
    audience: frozenset
    scope: frozenset
    exp: cython.longlong
    nbf: cython.longlong
    region: cython.int

    def __init__(self, facts: TokenFacts) -> None:
        self.facts = facts
        self.thumbprint = facts.thumbprint
        self.revocation_keys = facts.revocation_keys
        self.revocation_iat = facts.revocation_iat
        self.audience = facts.audience
        self.scope = facts.scope
        self.exp = facts.exp
        self.nbf = facts.nbf
        self.region = facts.region


@cython.final
@cython.cclass
class Case:
    """One request under judgement: what is known, and the decision so far."""

    decision: Decision
    head: RequestHead
    table: Table
    plan: Plan
    wall_s: int
    boot_ns: int
    asked: Asked | None
    trace: list | None

    @cython.cfunc
    def deny(self, reason: Reason, step: str) -> Decision:
        decision = self.decision
        decision.verdict = Verdict.DENY
        decision.reason = reason
        self.note(step, reason.value)
        return decision

    @cython.cfunc
    def note(self, step: str, outcome: str) -> None:
        if self.trace is not None:
            self.trace.append((step, outcome))


@cython.final
@cython.cclass
class Gate:
    """Decides requests; one per worker.

    decisions: Facts of verified tokens. revocations: This worker's view of the index.
    """

    _decisions: DecisionCache
    _find: Callable[[bytes], Any]
    _check: Callable[..., int]
    _facts: FactsMaker
    _names: dict
    _table: Table | None
    _older: Table | None

    def __init__(self, decisions: DecisionCache, revocations: RevocationReader) -> None:
        self._decisions = decisions
        self._find = decisions.get
        self._check = revocations.check
        self._facts = FactsMaker()
        self._names = {}
        self._table = None
        self._older = None

    def decide(
        self,
        head: RequestHead,
        snapshot: Snapshot,
        wall_s: int,
        boot_ns: int,
        asked: Asked | None = None,
        trace: Trace | None = None,
    ) -> Decision:
        """Judge one request at the given instant.

        wall_s: Seconds since 1970, for token times. boot_ns: CLOCK_BOOTTIME, for ages.
        asked: What the lane found out since the last call about this request.
        trace: Receives (step, outcome) for explanations; costs nothing when None.
        Returns a decision whose verdict is never UNDECIDED. Raises nothing that a
        request can cause.
        """
        case = Case()
        case.decision = decision = Decision()
        decision.decided_boot_ns = boot_ns
        case.head = head
        table = self._table
        if table is None or table.snapshot is not snapshot:
            table = self._tabulate(snapshot)
        case.table = table
        case.wall_s = wall_s
        case.boot_ns = boot_ns
        case.asked = asked
        case.trace = trace
        plan = table.match(head.path)
        if plan is None:
            return case.deny(Reason.NO_ROUTE, "route")
        case.plan = plan
        decision.route = plan.route
        if head.encoded_separators and not plan.encoded_slashes:
            return case.deny(Reason.BAD_REQUEST, "route")
        if trace is not None:
            case.note("route", plan.route.name)
        if plan.oauth:
            return self._route_message(case)
        if plan.open:
            follow_cookie(decision, head, snapshot.regions)
            return _forward(case)
        return self._judge_credential(case)

    @cython.cfunc
    def _route_message(self, case: Case) -> Decision:
        head = case.head
        if (
            head.form is None
            and head.method == "POST"
            and head.has_body
            and head.content_type == FORM_TYPE
        ):
            case.decision.verdict = Verdict.ASK_FORM
            return case.decision
        reader = UnverifiedReader(self._region_names(case.table.snapshot))
        try:
            route_message(case.decision, head, case.table.snapshot.regions, reader)
        except AmbiguousFormError:
            return case.deny(Reason.INVALID_REQUEST, "message")
        return _forward(case)

    # -- credential: RFC 6750 section 2, one method and one token ------------------

    @cython.cfunc
    def _judge_credential(self, case: Case) -> Decision:
        head = case.head
        authorization = head.authorization
        if head.credentials > 1:
            return case.deny(Reason.INVALID_REQUEST, "credential")
        if authorization is None:
            return case.deny(Reason.MISSING_TOKEN, "credential")
        if head.query and b"access_token=" in head.query:
            return case.deny(Reason.INVALID_REQUEST, "credential")
        if authorization[:7] != b"Bearer " and authorization[:7].lower() != b"bearer ":
            if authorization[:6].lower() == b"bearer":
                return case.deny(Reason.INVALID_REQUEST, "credential")
            return case.deny(Reason.MISSING_TOKEN, "credential")
        token: bytes = authorization[7:]
        if token[:1] == b" ":
            token = token.lstrip(b" ")
        if len(token) > case.plan.max_token_bytes:
            return case.deny(Reason.TOO_LARGE, "credential")
        if case.plan.accept_jwt:
            # A token seen before needs no look at its text at all.
            digest: bytes = sha256(case.plan.digest + token).digest()
            known = self._recall(case, digest)
            if known is not None:
                case.decision.kind = "jwt"
                case.decision.token = token
                return self._judge_facts(case, known, digest)
            if token.count(b".") == JWS_DOTS:
                case.decision.kind = "jwt"
                return self._judge_new_jwt(case, token, digest)
        case.decision.kind = "opaque"
        return self._judge_opaque(case, token)

    # -- self-contained tokens -----------------------------------------------------

    @cython.cfunc
    def _recall(self, case: Case, digest: bytes) -> Known | None:
        """Return the facts of a token verified before, while its key is still there."""
        known: Known | None = self._find(digest)
        if known is None:
            return None
        if known.thumbprint not in case.plan.thumbprints:
            # The key that vouched for these facts has gone, and they with it.
            self._decisions.drop(digest)
            return None
        case.decision.cache = "hit"
        case.note("signature", "valid (cached)")
        return known

    @cython.cfunc
    def _judge_new_jwt(self, case: Case, token: bytes, digest: bytes) -> Decision:
        decision = case.decision
        decision.token = token
        decision.cache = "miss"
        if _ambiguous(token):
            return case.deny(Reason.INVALID_REQUEST, "credential")
        facts = self._verify(case, token)
        if facts is None:
            if decision.kind == "wrapped":
                return self._judge_opaque(case, token)
            return decision
        known = Known(facts)
        self._decisions.put(digest, known, facts.weight_bytes)
        return self._judge_facts(case, known, digest)

    @cython.cfunc
    def _verify(self, case: Case, token: bytes) -> TokenFacts | None:
        """Return the facts of a token never seen, or None with the verdict set."""
        profile = case.plan.profile
        # Cheap refusals: size, alphabet, shape, typ, alg, crit, times.
        scanned: TokenScan = scan(token, self._claim_names(profile))
        if scanned.code != TOKEN_OK:
            case.deny(TOKEN_REASONS[scanned.code], "shape")
            return None
        reason = refuse_cheaply(scanned, profile, case.wall_s)
        if reason is not None:
            case.deny(reason, "shape")
            return None
        if profile.wrapped and case.decision.kind == "jwt" and not scanned.aud:
            # Confidential to its issuer (PROTOCOLS section 12): opaque to others.
            case.decision.kind = "wrapped"
            return None
        case.note("shape", f"{scanned.alg}, kid {scanned.kid}")
        # Key, then signature.
        key = self._verifying_key(case, scanned, token)
        if key is None:
            return None
        case.note("signature", "valid")
        # Claims. From here on the content is the issuer's word.
        reason = refuse_claims(scanned, profile)
        if reason is not None:
            case.deny(reason, "claims")
            return None
        case.note("claims", "accepted")
        return self._facts.make(
            scanned,
            profile,
            case.table.snapshot.regions,
            thumbprint=key.thumbprint,
            kid=key.kid,
        )

    @cython.cfunc
    def _verifying_key(
        self, case: Case, scanned: TokenScan, token: bytes
    ) -> VerificationKey | None:
        """Return the key that verifies, or None with the verdict set."""
        keys: IssuerKeys = case.plan.keys
        alg: str = scanned.alg
        kid = scanned.kid
        asked = case.asked is not None and case.asked.key_asked
        failed = case.asked.failed_key if case.asked is not None else b""
        if kid is None:
            candidates = [key for key in keys.every if alg in key.algorithms]
            del candidates[MAX_KEYS_WITHOUT_KID:]
        else:
            named = keys.by_kid.get(kid)
            if named is not None and alg not in named.algorithms:
                # A key is bound to its algorithms (RFC 8725 section 3.1).
                case.deny(Reason.BAD_ALG, "key")
                return None
            candidates = [] if named is None else [named]
        if not candidates:
            if not asked:
                case.decision.verdict = Verdict.ASK_KEY
                case.decision.ask_kid = "" if kid is None else kid
            elif keys.last_fetch_ok:
                case.deny(Reason.UNKNOWN_KID, "key")
            else:
                case.deny(Reason.KEYS_UNAVAILABLE, "key")
            return None
        signature = scanned.signature()
        signed = token[: scanned.signing_input_end]
        for key in candidates:
            if key.thumbprint == failed:
                continue
            if key.verify(alg, signature, signed):
                return key
        if kid is not None and not asked:
            # The kid may have been given a new key (PROTOCOLS section 2).
            case.decision.verdict = Verdict.ASK_KEY
            case.decision.failed_key = candidates[0].thumbprint
            return None
        case.deny(Reason.BAD_SIGNATURE, "signature")
        return None

    # -- opaque tokens -------------------------------------------------------------

    @cython.cfunc
    def _judge_opaque(self, case: Case, token: bytes) -> Decision:
        decision = case.decision
        if not token or _ambiguous(token):
            return case.deny(Reason.INVALID_REQUEST, "credential")
        if not case.plan.route.accept_opaque or case.plan.profile.introspection is None:
            return case.deny(Reason.MALFORMED, "shape")
        if token.translate(None, TOKEN_BYTES):
            return case.deny(Reason.MALFORMED, "shape")
        decision.credential = token
        answer = None if case.asked is None else case.asked.introspection
        if answer is None:
            self._hint_region(case, token)
            decision.verdict = Verdict.ASK_INTROSPECTION
            return decision
        reason = refuse_answer(answer)
        if reason is not None:
            return case.deny(reason, "introspection")
        case.note("introspection", "cached" if answer.cached else "asked")
        if answer.kind is AnswerKind.CLAIMS:
            return self._judge_members(case, answer, token)
        # A phantom token is verified like any other, and forwarded in its place.
        kind = decision.kind
        decision.kind = "phantom"  # never wrapped again
        digest: bytes = sha256(case.plan.digest + answer.payload).digest()
        known = self._recall(case, digest)
        if known is None:
            self._judge_new_jwt(case, answer.payload, digest)
        else:
            decision.token = answer.payload
            self._judge_facts(case, known, digest)
        decision.kind = kind
        if decision.reason in ISSUER_FAULTS:
            return case.deny(Reason.BAD_ISSUER_RESPONSE, "introspection")
        return decision

    @cython.cfunc
    def _judge_members(
        self, case: Case, answer: IntrospectionAnswer, token: bytes
    ) -> Decision:
        # RFC 7662 section 2.2: members of an active token, vouched for by the issuer.
        profile = case.plan.profile
        members: TokenScan = scan_json(answer.payload, self._claim_names(profile))
        issuer = members.iss
        if members.code != TOKEN_OK or (
            issuer is not None and issuer != profile.issuer
        ):
            return case.deny(Reason.BAD_ISSUER_RESPONSE, "introspection")
        if members.has_cnf:
            return case.deny(Reason.BOUND, "claims")
        case.decision.token = token
        facts = self._facts.make(
            members, profile, case.table.snapshot.regions, thumbprint=b"", kid=None
        )
        return self._judge_facts(case, Known(facts), b"")

    @cython.cfunc
    def _hint_region(self, case: Case, token: bytes) -> Decision:
        # Which region's issuer to ask: the token's own hint, cookie, default.
        regions = case.table.snapshot.regions
        reader = UnverifiedReader(self._region_names(case.table.snapshot))
        hint = reader(token.decode("ascii"))
        region = -1 if hint is None else regions.find(hint.region)
        if region >= 0:
            case.decision.region = region
            case.decision.source = RegionSource.HINT
        else:
            follow_cookie(case.decision, case.head, regions)
        return case.decision

    # -- what is judged on every request -------------------------------------------

    @cython.cfunc
    def _judge_facts(self, case: Case, known: Known, digest: bytes) -> Decision:
        plan = case.plan
        decision = case.decision
        decision.facts = known.facts
        now: cython.longlong = case.wall_s
        if 0 <= known.exp <= now - plan.leeway_s:
            return case.deny(Reason.EXPIRED, "times")
        if known.nbf > now + plan.leeway_s:
            return case.deny(Reason.NOT_YET, "times")
        code = self._look_up(case, known, 0)
        if code != CLEAR:
            if code & 0xFF == REVOKED:
                return self._refuse_revoked(case, known, digest, code)
            if not self._pass_when_stale(case, known, digest):
                return decision
        case.note("revocation", "clear")
        if plan.audience is not None and plan.audience.isdisjoint(known.audience):
            return case.deny(Reason.BAD_AUD, "audience")
        if plan.scope is not None and not plan.scope <= known.scope:
            return case.deny(Reason.SCOPE, "scope")
        return self._go_home(case, known)

    @cython.cfunc
    def _go_home(self, case: Case, known: Known) -> Decision:
        decision = case.decision
        if known.region >= 0:
            if case.head.cookie is None:
                decision.region = known.region
                decision.source = BY_CLAIM
            else:
                regions = case.table.snapshot.regions
                settle(decision, case.head, regions, known.region, BY_CLAIM)
        elif known.region == UNKNOWN_REGION:
            return case.deny(Reason.UNKNOWN_REGION, "region")
        else:
            follow_cookie(decision, case.head, case.table.snapshot.regions)
        return _forward(case)

    @cython.cfunc
    def _look_up(self, case: Case, known: Known, grace_ns: int) -> cython.longlong:
        """Judge freshness and revocation in one generation of the shared index.

        grace_ns: Added to both limits of the freshness contract.
        """
        plan = case.plan
        home = case.table.origins[known.region] if known.region >= 0 else EVERY_ORIGIN
        near, far = plan.max_staleness_ns, plan.global_max_staleness_ns
        if grace_ns:
            near, far = near + grace_ns, far + grace_ns
        return self._check(
            known.revocation_keys,
            known.revocation_iat,
            case.wall_s,
            case.boot_ns,
            home,
            near,
            plan.home_origin,
            far,
        )

    @cython.cfunc
    def _refuse_revoked(
        self, case: Case, known: Known, digest: bytes, code: cython.longlong
    ) -> Decision:
        if digest:
            self._decisions.drop(digest)
        case.note("revocation", known.facts.revocation_kinds[code >> 8])
        return case.deny(Reason.REVOKED, "revocation")

    @cython.cfunc
    def _pass_when_stale(self, case: Case, known: Known, digest: bytes) -> cython.bint:
        """Apply `on_stale`; False leaves the verdict set (THREATS.md section 2)."""
        route = case.plan.route
        decision = case.decision
        if route.on_stale is OnStale.ALLOW:
            # Needs a state that was once complete: evidence 0 exceeds any limit.
            code = self._look_up(case, known, route.allow_for_ns)
            if code == CLEAR:
                case.note("freshness", "stale, allowed by on_stale")
                return True
            if code & 0xFF == REVOKED:
                self._refuse_revoked(case, known, digest, code)
                return False
        elif route.on_stale is OnStale.INTROSPECT and case.plan.profile.introspection:
            answer = None if case.asked is None else case.asked.introspection
            reason = None if answer is None else refuse_answer(answer)
            if reason is not None:
                case.deny(reason, "freshness")
                return False
            if answer is not None and _is_younger(answer, route, case.boot_ns):
                case.note("freshness", "stale, the issuer says active")
                return True
            decision.verdict = Verdict.ASK_INTROSPECTION
            decision.stale_question = True
            decision.credential = decision.credential or decision.token
            decision.region = known.region
            if known.region < 0:
                follow_cookie(decision, case.head, case.table.snapshot.regions)
            return False
        case.deny(Reason.STALE_REVOCATION, "freshness")
        return False

    # -- laid out once per snapshot and per profile ----------------------------------

    @cython.cfunc
    def _tabulate(self, snapshot: Snapshot) -> Table:
        # A request ends on the snapshot it began with, so the one before is kept too.
        older = self._older
        if older is None or older.snapshot is not snapshot:
            older = Table(snapshot)
        self._older = self._table
        self._table = older
        return older

    @cython.cfunc
    def _claim_names(self, profile: IssuerProfile) -> ClaimNames:
        names = self._names.get(profile.digest)
        if names is None:
            names = ClaimNames(
                region=profile.region_claims,
                grant=profile.grant_claims,
                require=profile.require,
                max_token_bytes=profile.max_token_bytes,
            )
            self._remember(profile.digest, names)
        return names

    @cython.cfunc
    def _region_names(self, snapshot: Snapshot) -> ClaimNames:
        names = self._names.get(snapshot.regions.claims)
        if names is None:
            names = ClaimNames(region=snapshot.regions.claims)
            self._remember(snapshot.regions.claims, names)
        return names

    @cython.cfunc
    def _remember(self, mark: object, names: ClaimNames) -> None:
        if len(self._names) >= MAX_PROFILES:
            self._names.clear()
        self._names[mark] = names


@cython.cfunc
def _is_younger(answer: IntrospectionAnswer, route: Route, boot_ns: int) -> cython.bint:
    # Counted from when the question was sent (REVOCATION.md section 1).
    return answer.asked_boot_ns + route.max_staleness_ns > boot_ns


@cython.cfunc
def _ambiguous(token: bytes) -> cython.bint:
    # Several credentials in one header (RFC 6750 section 2). Tokens in the cache hold
    # none of these bytes, so only new ones are asked.
    return b" " in token or b"," in token or b"\t" in token


@cython.cfunc
def _forward(case: Case) -> Decision:
    region: cython.int = case.decision.region
    if case.trace is not None:
        case.note("region", case.decision.source.value)
    if not case.plan.offered[region]:
        return case.deny(Reason.REGION_UNAVAILABLE, "forward")
    case.decision.verdict = ALLOW
    return case.decision
