"""The gate: the one order of checks, top to bottom.

framing -> route -> credential -> cheap refusals -> key -> signature -> claims ->
freshness and revocation -> audience, scope -> home region -> forward.

Owns:      references only: the decision cache, the revocation view, tables of routes;
           and when each issuer's keys were last asked for in vain. It does no I/O,
           reads no clock and no global that changes.
Called by: both lanes, once per request and again after each question it asks.

Two rules hold for every line below. Nothing may allow before the signature; anything
may refuse before it. And what the cache remembers are facts about a signature: expiry,
freshness, revocation, audience, scope and region are judged on every request.

Gate, plan, facts, failures and token_rules are in Cython's pure-Python mode: compiled
in the product, run uncompiled in tests as well (DESIGN.md sections 4 and 5). This file
is longer than others because the order of checks is to be read in one place.
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
from fastgate.domain.verdict import Reason, Verdict
from fastgate.hotpath.facts import Facts
from fastgate.hotpath.failures import Failures
from fastgate.hotpath.native import (
    TOKEN_NOT_THREE_PARTS,
    TOKEN_OK,
    TOKEN_REASONS,
    TokenScan,
    scan,
    scan_json,
)
from fastgate.hotpath.oauth import AmbiguousFormError, route_message
from fastgate.hotpath.plan import Plan, Table
from fastgate.hotpath.regions import follow_cookie, settle
from fastgate.hotpath.token_rules import (
    ISSUER_FAULTS,
    UnverifiedReader,
    has_query_token,
    refuse_answer,
)
from fastgate.ports import DecisionCache, RevocationReader, StatusReader

__all__ = ["COMPILED", "Gate"]

COMPILED: bool = cython.compiled

FORM_TYPE = "application/x-www-form-urlencoded"
# Reason: without a kid each fitting key costs a verification (PROTOCOLS section 2).
MAX_KEYS_WITHOUT_KID = 4
MOST_ISSUERS = 64

# Reason: the agent fetches once in a cool-down of 30 s (THREATS.md T13), so a second of
# asking for nothing loses nothing, and a flood of strange tokens never leaves the lane
# in which refusals cost least.
VAIN_NS = 1_000_000_000

EVERY_ORIGIN = -1  # a token without a region is judged by the oldest of all
CLEAR = 1
REVOKED = 2
# Of a status list; any other status is the application's, and not valid.
VALID, INVALID = 0, 1
NO_LIST, NO_ENTRY = -1, -2

# RFC 6750 section 2.1: b64token. Anything else in a credential is ambiguous.
TOKEN_BYTES = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/="

# An attribute of an enum costs 30 ns; the warm path reads two.
ALLOW = Verdict.ALLOW
BY_CLAIM = RegionSource.CLAIM

Trace = list[tuple[str, str]]


@cython.final
@cython.freelist(8)
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
    failures: Counts, and bounds, what clients have failed to verify; None: no bound.
    statuses: The status lists on this host; None: there are none.
    """

    _decisions: DecisionCache
    _find: Callable[[bytes], Any]
    _check: Callable[..., int]
    _evidence: Callable[[int], int]
    _failures: Failures | None
    _statuses: StatusReader | None
    _strange_ns: dict
    _failed_ns: dict
    _table: Table | None
    _older: Table | None

    def __init__(
        self,
        decisions: DecisionCache,
        revocations: RevocationReader,
        failures: Failures | None = None,
        statuses: StatusReader | None = None,
    ) -> None:
        self._decisions = decisions
        self._find = decisions.get
        self._check = revocations.check
        self._evidence = revocations.evidence
        self._failures = failures
        self._statuses = statuses
        # By issuer: a kid that nobody knew, and a known one whose key did not verify.
        # Apart, so that a flood of one kind holds up no question of the other.
        self._strange_ns: dict[str, int] = {}
        self._failed_ns: dict[str, int] = {}
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
        asked: What the lane found out since the last call about this request; it says,
            too, which keys refused the signature then, so that nothing is verified,
            or charged to the client, twice.
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
        path: str = head.path
        plan = table.match(path)
        if plan is None:
            return case.deny(Reason.NO_ROUTE, "route")
        case.plan = plan
        decision.route = plan.route
        if head.encoded_separators and not plan.encoded_slashes:
            return case.deny(Reason.BAD_REQUEST, "route")
        if ("%" in path or ";" in path) and not table.is_clear(path, plan):
            return case.deny(Reason.BAD_REQUEST, "route")
        if trace is not None:
            case.note("route", plan.route.name)
        if head.credentials > 1:
            return case.deny(Reason.INVALID_REQUEST, "credential")
        if plan.oauth:
            return self._route_message(case)
        if plan.open:
            follow_cookie(decision, head, table.regions)
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
        reader = UnverifiedReader(case.table.region_names)
        try:
            route_message(case.decision, head, case.table.regions, reader)
        except AmbiguousFormError:
            return case.deny(Reason.INVALID_REQUEST, "message")
        return _forward(case)

    # -- credential: RFC 6750 section 2, one method and one token ------------------

    @cython.cfunc
    def _judge_credential(self, case: Case) -> Decision:
        plan = case.plan
        token = _bearer_token(case)
        if token is None:
            return case.decision
        if plan.accept_jwt:
            # A token seen before needs no look at its text at all.
            digest: bytes = sha256(plan.digest + token).digest()
            known = self._recall(case, digest)
            if known is not None:
                case.decision.kind = "jwt"
                case.decision.token = token
                return self._judge_facts(case, known, digest)
            scanned: TokenScan = scan(token, plan.claim_names)
            if scanned.code != TOKEN_NOT_THREE_PARTS:
                case.decision.kind = "jwt"
                return self._judge_new_jwt(case, token, digest, scanned)
        if not token or _holds_several(token):
            return case.deny(Reason.INVALID_REQUEST, "credential")
        case.decision.kind = "opaque"
        return self._judge_opaque(case, token)

    # -- self-contained tokens -----------------------------------------------------

    @cython.cfunc
    def _recall(self, case: Case, digest: bytes) -> Facts | None:
        """Return the facts of a token verified before, while its key is still there."""
        known: Facts | None = self._find(digest)
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
    def _judge_new_jwt(
        self, case: Case, token: bytes, digest: bytes, scanned: TokenScan
    ) -> Decision:
        decision = case.decision
        decision.token = token
        decision.cache = "miss"
        facts = self._verify(case, token, scanned)
        if facts is None:
            if decision.kind == "wrapped":
                return self._judge_opaque(case, token)
            return decision
        self._decisions.put(digest, facts, facts.weight_bytes)
        return self._judge_facts(case, facts, digest)

    @cython.cfunc
    def _verify(self, case: Case, token: bytes, scanned: TokenScan) -> Facts | None:
        """Return the facts of a token never seen, or None with the verdict set."""
        plan = case.plan
        rules = plan.rules
        # Cheap refusals: size, alphabet, shape, typ, alg, crit, times.
        if scanned.code != TOKEN_OK:
            if case.decision.kind == "jwt" and _holds_several(token):
                case.deny(Reason.INVALID_REQUEST, "credential")
            else:
                case.deny(TOKEN_REASONS[scanned.code], "shape")
            return None
        alg, kid, typ, exp, nbf, iat = scanned.header_and_times()
        reason = rules.refuse_header(typ, alg)
        if reason is None:
            reason = rules.refuse_times(exp, nbf, iat, case.wall_s)
        if reason is not None:
            case.deny(reason, "shape")
            return None
        if plan.wrapped and case.decision.kind == "jwt" and not scanned.aud:
            # Confidential to its issuer (PROTOCOLS section 12): opaque to others.
            case.decision.kind = "wrapped"
            return None
        if case.trace is not None:
            case.note("shape", f"{alg}, kid {kid}")
        # Key, then signature.
        key = self._verifying_key(case, scanned, token, alg, kid)
        if key is None:
            return None
        case.note("signature", "valid")
        # Claims. From here on the content is the issuer's word.
        reason = rules.refuse_claims(
            scanned.iss, scanned.has_all_required, scanned.has_cnf
        )
        if reason is not None:
            case.deny(reason, "claims")
            return None
        case.note("claims", "accepted")
        return plan.maker.make(scanned, key.thumbprint, key.kid, exp, nbf, iat)

    @cython.cfunc
    def _verifying_key(
        self, case: Case, scanned: TokenScan, token: bytes, alg: str, kid: str | None
    ) -> VerificationKey | None:
        """Return the key that verifies, or None with the verdict set."""
        keys: IssuerKeys = case.plan.keys
        failed: tuple[bytes, ...] = (
            case.asked.failed_keys if case.asked is not None else ()
        )
        if kid is None:
            candidates = [key for key in keys.every if alg in key.algorithms]
            del candidates[MAX_KEYS_WITHOUT_KID:]
        else:
            named = case.plan.by_kid.get(kid)
            if named is not None and alg not in named.algorithms:
                # A key is bound to its algorithms (RFC 8725 section 3.1).
                case.deny(Reason.BAD_ALG, "key")
                return None
            candidates = [] if named is None else [named]
        if not candidates:
            if not _has_asked(case, self._strange_ns):
                case.decision.verdict = Verdict.ASK_KEY
                case.decision.ask_kid = "" if kid is None else kid
                return None
            _note_vain(case, self._strange_ns)
            reason = Reason.UNKNOWN_KID
            case.deny(reason if keys.last_fetch_ok else Reason.KEYS_UNAVAILABLE, "key")
            return None
        if self._failures is None and case.trace is not None:
            case.note("failures", _explained(case))
        untried = [key for key in candidates if key.thumbprint not in failed]
        if untried:
            found = self._first_verifying(case, untried, scanned, token, alg)
            if found is not None or case.decision.verdict is Verdict.DENY:
                return found
        case.decision.failed_keys = tuple([key.thumbprint for key in candidates])
        if kid is not None and not _has_asked(case, self._failed_ns):
            # The kid may have been given a new key (PROTOCOLS section 2).
            case.decision.verdict = Verdict.ASK_KEY
            return None
        _note_vain(case, self._failed_ns)
        case.deny(Reason.BAD_SIGNATURE, "signature")
        return None

    @cython.cfunc
    def _first_verifying(
        self,
        case: Case,
        keys: list[VerificationKey],
        scanned: TokenScan,
        token: bytes,
        alg: str,
    ) -> VerificationKey | None:
        """Verify; None where no key does, or (denied) the client may not try again."""
        failures = self._failures
        if case.decision.kind == "phantom":
            failures = None  # its issuer's word, so its faults are not the client's
        peer, now_ns = case.head.peer, case.boot_ns
        if failures is not None and not failures.admits(peer, now_ns):
            case.deny(Reason.TOO_MANY_FAILURES, "signature")
            return None
        signature = scanned.signature()
        signed = token[: scanned.signing_input_end]
        for key in keys:
            if key.verify(alg, signature, signed):
                return key
        if failures is not None:
            failures.charge(peer, now_ns, len(keys))
        return None

    # -- opaque tokens -------------------------------------------------------------

    @cython.cfunc
    def _judge_opaque(self, case: Case, token: bytes) -> Decision:
        decision = case.decision
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
        return self._judge_phantom(case, answer.payload)

    @cython.cfunc
    def _judge_phantom(self, case: Case, token: bytes) -> Decision:
        # A phantom token is verified like any other, and forwarded in its place.
        decision = case.decision
        kind = decision.kind
        decision.kind = "phantom"  # never wrapped again
        digest: bytes = sha256(case.plan.phantom_digest + token).digest()
        known = self._recall(case, digest)
        if known is None:
            scanned: TokenScan = scan(token, case.plan.claim_names)
            self._judge_new_jwt(case, token, digest, scanned)
        else:
            decision.token = token
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
        plan = case.plan
        members: TokenScan = scan_json(answer.payload, plan.claim_names)
        issuer = members.iss
        if (
            members.code != TOKEN_OK
            or members.active is not True
            or (issuer is not None and issuer != plan.profile.issuer)
        ):
            return case.deny(Reason.BAD_ISSUER_RESPONSE, "introspection")
        if members.has_cnf:
            return case.deny(Reason.BOUND, "claims")
        case.decision.token = token
        facts = plan.maker.make(
            members, b"", None, members.exp, members.nbf, members.iat
        )
        return self._judge_facts(case, facts, b"")

    @cython.cfunc
    def _hint_region(self, case: Case, token: bytes) -> None:
        # Which region's issuer to ask: the token's own hint, cookie, default.
        regions = case.table.regions
        hint = UnverifiedReader(case.table.region_names)(token.decode("ascii"))
        region = -1 if hint is None else regions.find(hint.region)
        if region >= 0:
            case.decision.region = region
            case.decision.source = RegionSource.HINT
        else:
            follow_cookie(case.decision, case.head, regions)

    # -- what is judged on every request -------------------------------------------

    @cython.cfunc
    def _judge_facts(self, case: Case, known: Facts, digest: bytes) -> Decision:
        plan = case.plan
        decision = case.decision
        decision.facts = known
        now: cython.longlong = case.wall_s
        if 0 <= known.exp <= now - plan.leeway_s:
            return case.deny(Reason.EXPIRED, "times")
        if known.nbf > now + plan.leeway_s:
            return case.deny(Reason.NOT_YET, "times")
        code = self._look_up(case, known, 0)
        if case.table.ages:
            decision.age_ms = self._age_ms(case, known)
        if code != CLEAR:
            if code & 0xFF == REVOKED:
                return self._refuse_revoked(case, known, digest, code)
            if not self._pass_when_stale(case, known, digest):
                return decision
        if known.status_name is not None and not self._pass_by_status(case, known):
            return decision
        case.note("revocation", "clear")
        if plan.audience is not None and plan.audience.isdisjoint(known.audience):
            return case.deny(Reason.BAD_AUD, "audience")
        if plan.scope is not None and not plan.scope <= known.scope:
            return case.deny(Reason.SCOPE, "scope")
        return self._go_home(case, known)

    @cython.cfunc
    def _go_home(self, case: Case, known: Facts) -> Decision:
        decision = case.decision
        if known.region >= 0:
            if case.head.cookie is None:
                decision.region = known.region
                decision.source = BY_CLAIM
            else:
                settle(decision, case.head, case.table.regions, known.region, BY_CLAIM)
        elif known.region == UNKNOWN_REGION:
            return case.deny(Reason.UNKNOWN_REGION, "region")
        else:
            follow_cookie(decision, case.head, case.table.regions)
        return _forward(case)

    @cython.cfunc
    def _look_up(self, case: Case, known: Facts, grace_ns: int) -> cython.longlong:
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
    def _age_ms(self, case: Case, known: Facts) -> int:
        """Return how old the evidence is that this token was judged by."""
        if known.region >= 0:
            seen = self._evidence(case.table.origins[known.region])
        else:
            seen = min([self._evidence(origin) for origin in case.table.every_origin])
        return (case.boot_ns - seen) // 1_000_000 if seen else -1

    @cython.cfunc
    def _refuse_revoked(
        self, case: Case, known: Facts, digest: bytes, code: cython.longlong
    ) -> Decision:
        if digest:
            self._decisions.drop(digest)
        case.note("revocation", known.revocation_kinds[code >> 8])
        return case.deny(Reason.REVOKED, "revocation")

    @cython.cfunc
    def _pass_when_stale(self, case: Case, known: Facts, digest: bytes) -> cython.bint:
        """Apply `on_stale`; False leaves the verdict set (THREATS.md section 2)."""
        route = case.plan.route
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
            return self._pass_by_answer(case, known)
        case.deny(Reason.STALE_REVOCATION, "freshness")
        return False

    @cython.cfunc
    def _pass_by_answer(self, case: Case, known: Facts) -> cython.bint:
        """Let the issuer's word of the moment stand in for a stale feed, or ask it."""
        decision = case.decision
        answer = None if case.asked is None else case.asked.introspection
        reason = None if answer is None else refuse_answer(answer)
        if reason is not None:
            case.deny(reason, "freshness")
            return False
        if answer is not None and _is_younger(answer, case.plan.route, case.boot_ns):
            case.note("freshness", "stale, the issuer says active")
            return True
        decision.verdict = Verdict.ASK_INTROSPECTION
        decision.stale_question = True
        decision.credential = decision.credential or decision.token
        decision.region = known.region
        if known.region < 0:
            follow_cookie(decision, case.head, case.table.regions)
        return False

    @cython.cfunc
    def _pass_by_status(self, case: Case, known: Facts) -> cython.bint:
        """Look the token's entry up; False leaves the verdict set.

        A list that is not there or too old is a stale state like any other, so
        `on_stale` decides (PROTOCOLS.md section 6).
        """
        route = case.plan.route
        status: cython.longlong = self._status(known, case.boot_ns)
        if status == NO_LIST and route.on_stale is OnStale.ALLOW:
            status = self._status(known, case.boot_ns - route.allow_for_ns)
        if status == VALID:
            case.note("status list", "valid")
            return True
        if status == NO_LIST:
            profile = case.plan.profile
            if route.on_stale is OnStale.INTROSPECT and profile.introspection:
                return self._pass_by_answer(case, known)
            case.deny(Reason.STALE_REVOCATION, "status list")
        elif status == INVALID:
            case.deny(Reason.REVOKED, "status list")
        elif status == NO_ENTRY:
            case.deny(Reason.NO_STATUS, "status list")
        else:
            case.deny(Reason.SUSPENDED, "status list")
        return False

    @cython.cfunc
    def _status(self, known: Facts, boot_ns: int) -> cython.longlong:
        if self._statuses is None:
            return NO_LIST
        name = known.status_name or ""
        return self._statuses.status(name, known.status_index, boot_ns)

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
def _bearer_token(case: Case) -> bytes | None:
    """Return the one token of the request, or None with the verdict set."""
    head = case.head
    authorization = head.authorization
    if authorization is None:
        case.deny(Reason.MISSING_TOKEN, "credential")
        return None
    if head.query and has_query_token(head.query):
        case.deny(Reason.INVALID_REQUEST, "credential")
        return None
    if authorization[:7] != b"Bearer " and authorization[:7].lower() != b"bearer ":
        # Otherwise another scheme; or no token, a tab, one scheme behind another.
        bearer = b"bearer" in authorization.lower()
        reason = Reason.INVALID_REQUEST if bearer else Reason.MISSING_TOKEN
        case.deny(reason, "credential")
        return None
    token: bytes = authorization[7:]
    if token[:1] == b" ":
        token = token.lstrip(b" ")
    if len(token) > case.plan.max_token_bytes:
        case.deny(Reason.TOO_LARGE, "credential")
        return None
    return token


@cython.cfunc
def _has_asked(case: Case, vain_ns: dict[str, int]) -> cython.bint:
    """Tell whether the agent had its say: on this request, or in vain a moment ago.

    An explanation shows every step, so for it only its own question counts.
    """
    if case.asked is not None and case.asked.key_asked:
        return True
    if case.trace is not None:
        return False
    since: cython.longlong = vain_ns.get(case.plan.profile.alias, 0)
    now: cython.longlong = case.boot_ns
    return 0 < since <= now < since + VAIN_NS


@cython.cfunc
def _note_vain(case: Case, vain_ns: dict[str, int]) -> None:
    """Note that the agent was asked for a key, and has none that verifies."""
    if case.asked is not None and case.asked.key_asked:
        if len(vain_ns) >= MOST_ISSUERS:
            vain_ns.clear()  # names of configurations that are gone
        vain_ns[case.plan.profile.alias] = case.boot_ns


@cython.cfunc
def _explained(case: Case) -> str:
    # Where no client asks, none is refused: say what workers do.
    limits = case.table.snapshot.limits
    return (
        f"not counted here; at a worker, {limits.failure_burst} failed verifications "
        f"of a client, and {limits.failures_per_s} more a second, end in 429"
    )


@cython.cfunc
def _holds_several(token: bytes) -> cython.bint:
    # Several credentials in one header (RFC 6750 section 2), or who knows what.
    return b" " in token or b"," in token or b"\t" in token


@cython.cfunc
def _is_younger(answer: IntrospectionAnswer, route: Route, boot_ns: int) -> cython.bint:
    # Counted from when the question was sent (REVOCATION.md section 1).
    return answer.asked_boot_ns + route.max_staleness_ns > boot_ns


@cython.cfunc
def _forward(case: Case) -> Decision:
    region: cython.int = case.decision.region
    if case.trace is not None:
        case.note("region", case.decision.source.value)
    if not case.plan.offered[region]:
        return case.deny(Reason.REGION_UNAVAILABLE, "forward")
    case.decision.verdict = ALLOW
    return case.decision
