"""Decision: what the gate's stages cost in one process, against their floors.

Owns:      the bench `decision`.
Called by: suite.

Floors: `sha256` of issuer profile and token, without which no cached decision can be
found; `verify`, the bare call of the cryptography library with everything prepared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate.domain.decision import Decision
from fastgate.domain.request import RequestHead
from fastgate.domain.revocation import Kind
from fastgate.domain.verdict import Verdict
from fastgate.wiring.compiled import native
from fastgate_bench.charts import Bars, Lines
from fastgate_bench.figures import Measured
from fastgate_bench.gate_kit import GateKit, boot_ns, head_of
from fastgate_bench.options import Options, Tell
from fastgate_bench.timing import Call, Timed, measure
from fastgate_bench.tokens import Issuer

__all__ = ["run"]

_ECDSA: Final = ec.ECDSA(hashes.SHA256())
_BIG_ROLES: Final = 196  # make a token of 4 KiB
_INTEGER_BYTES: Final = 32
_KEYS: Final = 6


@dataclass(frozen=True, slots=True)
class _Size:
    tokens: int  # different ones, of each round
    repeats: int  # of each of them, for what is fast
    rounds: int
    revocations: int
    populations: tuple[int, ...]  # cached tokens, for the plot


_FULL: Final = _Size(400, 20, 20, 100_000, (100, 1_000, 10_000, 50_000))
_QUICK: Final = _Size(200, 5, 3, 1_000, (100, 1_000))


async def run(options: Options, tell: Tell) -> Measured:
    """Measure the stages. Raises BugError where a decision was wrong."""
    size = _QUICK if options.quick else _FULL
    rounds = options.rounds or size.rounds
    issuer = Issuer()
    tell("making tokens and revocations", 0.0)
    kit = GateKit(issuer, cached=100_000, entries=size.revocations)
    calls = _calls(kit, size)

    def told(number: int) -> None:
        kit.refresh()
        tell(f"round {number + 1} of {rounds}", 0.1 + 0.7 * number / rounds)

    timed = measure(calls, rounds, told)
    tell("cost against cached tokens", 0.8)
    by_tokens = _by_population(kit, size)
    measured = Measured(
        [one.stage() for one in timed.values()],
        [
            Lines(
                "Latency distribution per stage",
                "share of calls below",
                "microseconds",
                {name: one.points() for name, one in timed.items()},
                y_log=True,
                x_nines=True,
            ),
            *_cost_stacks(timed),
            Lines(
                "Cost of a decision against tokens in the cache",
                "tokens seen before, in turn",
                "microseconds (median)",
                {"seen": by_tokens},
                x_log=True,
            ),
        ],
        {
            "token_bytes": len(issuer.token()),
            "algorithm": "ES256",
            "revocations": size.revocations,
            "rounds": rounds,
            "tokens_per_round": size.tokens,
        },
    )
    measured.notes.append("The cost of reading the clock is taken off every sample.")
    return measured


def _calls(kit: GateKit, size: _Size) -> dict[str, Call]:
    """Return every stage, in the order of a request."""
    issuer, profile = kit.issuer, kit.profile
    names = native.ClaimNames(region=("region",), grant=("grant_id",))
    public = issuer.public
    known = [issuer.token().encode() for _ in range(size.tokens)]
    heads = [head_of(token.decode()) for token in known]
    for head in heads:
        kit.decide(head)
    # As many as a token names: its id, session, user, client, key and issuer.
    keys = b"".join(profile.hasher.key(kind, "any") for kind in tuple(Kind)[:_KEYS])

    def again(values: Sequence[Any]) -> Callable[[], Sequence[Any]]:
        repeated = list(values) * size.repeats
        return lambda: repeated

    def never_seen() -> Sequence[RequestHead]:
        return [head_of(issuer.token()) for _ in range(size.tokens)]

    def prepared(token: bytes) -> tuple[bytes, bytes]:
        scan = native.scan(token, names)
        der = native.der_signature(scan.signature(), _INTEGER_BYTES)
        return der or b"", token[: scan.signing_input_end]

    check = kit.index.reader.check
    age_ns = 10**10
    big = issuer.token(roles=[f"role-{n:05}" for n in range(_BIG_ROLES)]).encode()
    return {
        "scan": Call(
            lambda token: native.scan(token, names), again(known), _is_scanned
        ),
        "scan-4k": Call(
            lambda token: native.scan(token, names),
            again([big] * size.tokens),
            _is_scanned,
            note=f"{len(big)} bytes",
        ),
        "sha256": Call(
            lambda token: sha256(profile.digest + token).digest(), again(known), bool
        ),
        "index": Call(
            lambda keys: check(
                keys, kit.now_s, kit.now_s, boot_ns(), 0, age_ns, 0, age_ns
            ),
            again([keys] * size.tokens),
            lambda code: code == 1,
            note="every key of a token",
        ),
        "seen": Call(kit.decide, again(heads), _is_allowed),
        "verify": Call(
            lambda parts: public.verify(parts[0], parts[1], _ECDSA),
            lambda: [prepared(token) for token in known],
            lambda found: found is None,
        ),
        "never-seen": Call(kit.decide, never_seen, _is_allowed),
    }


def _is_scanned(scan: Any) -> bool:
    return bool(scan.code == native.TOKEN_OK)


def _is_allowed(decision: Decision) -> bool:
    return decision.verdict is Verdict.ALLOW


def _cost_stacks(timed: dict[str, Timed]) -> list[Bars]:
    """Return what decisions are made of, by medians."""
    cost = {name: one.stage().values["p50"] for name, one in timed.items()}

    def stack(whole: str, *parts: str) -> list[tuple[str, float]]:
        named = [(part, cost[part]) for part in parts]
        rest = cost[whole] - sum(value for _, value in named)
        return [*named, ("everything else", max(0.0, rest))]

    seen = stack("seen", "sha256", "index")
    fresh = stack("never-seen", "sha256", "index", "scan", "verify")
    return [
        Bars("Cost stack of a decision: token seen before", "us", {"seen": seen}),
        Bars("Cost stack of a decision: token never seen", "us", {"never seen": fresh}),
    ]


def _by_population(kit: GateKit, size: _Size) -> list[tuple[float, float]]:
    """Return (tokens in turn, median of a decision in microseconds)."""
    points = []
    heads: list[RequestHead] = []
    for count in size.populations:
        while len(heads) < count:
            heads.append(head_of(kit.issuer.token()))
        kit.refresh()
        for head in heads:
            kit.decide(head)
        kit.refresh()
        call = Call(kit.decide, lambda: heads, _is_allowed)
        stage = measure({"seen": call}, 1, lambda _: None)["seen"].stage()
        points.append((float(count), stage.values["p50"]))
    return points
