"""Generator: starts the load generator, and judges whether it was the bottleneck.

Owns:      the loader's process for the length of a run.
Called by: runs, relay and peers.
"""

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Final

from fastgate.errors import StartError
from fastgate_bench.histogram import decoded, statistics
from fastgate_bench.plan import Outcome, Plan

__all__ = ["FULL_CORE", "MAX_CORE_SHARE", "MAX_CPU_SHARE", "Load", "generate"]

# Reason: a latency that is late by more than this says more of us than of the server.
MAX_LAG_MS: Final = 1.0
# Reason: past this share of its core the generator cannot hold a rate.
MAX_CPU_SHARE: Final = 0.9
# Reason: a full core keeps generator and upstream waiting for each other.
MAX_CORE_SHARE: Final = 0.95
FULL_CORE: Final = "the core of load and upstream was {:.0%} busy"
_US_PER_MS: Final = 1000.0


@dataclass(frozen=True, slots=True)
class Load:
    """An outcome, with its plan."""

    plan: Plan
    outcome: Outcome

    def latency_ms(self) -> dict[str, float]:
        """Return the percentiles, milliseconds."""
        return statistics(decoded(self.outcome.latency), 1 / _US_PER_MS)

    def lag_ms(self) -> dict[str, float]:
        """Return the generator's own lag, milliseconds."""
        return statistics(decoded(self.outcome.lag), 1 / _US_PER_MS)

    @property
    def achieved(self) -> float:
        """Answers a second."""
        return self.outcome.answers / self.outcome.seconds

    def bottleneck(self) -> str:
        """Return why this run is no figure of the server; empty where it is one."""
        share = self.outcome.cpu_share
        if share > MAX_CPU_SHARE:
            return f"the load generator used {share:.0%} of its core"
        if self.outcome.core_share > MAX_CORE_SHARE:
            return FULL_CORE.format(self.outcome.core_share)
        lag = self.lag_ms()["p99"] if self.plan.rate else 0.0
        if lag > MAX_LAG_MS:
            return f"the load generator was late itself: p99 {lag:.2f} ms"
        return ""

    def fault(self) -> str:
        """Return what was wrong with the answers; empty where nothing was."""
        found = self.outcome
        if not found.faults:
            return ""
        parts = [
            f"{found.faults} of {max(found.due, found.answers)} without own answer"
        ]
        wanted = {str(status) for status in self.plan.statuses}
        odd = {s: n for s, n in found.statuses.items() if s not in wanted}
        counts: dict[str, int] = {
            **odd,
            **found.errors,
            "another's tag": found.mismatched,
            "lost": found.lost,
            "never sent": found.unsent,
        }
        parts += [f"{name}: {count}" for name, count in counts.items() if count]
        return "; ".join(parts)

    def document(self) -> dict[str, Any]:
        """Return what the report keeps of it."""
        return {
            "rate": self.plan.rate,
            "achieved": self.achieved,
            "lag_p99_ms": self.lag_ms()["p99"] if self.plan.rate else None,
            **self.outcome.summary(),
        }


async def generate(plan: Plan) -> Load:
    """Run a plan in a process of its own, which ends with this call.

    Raises StartError: it did not do its work.
    """
    plan.check()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastgate_bench.loader"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # Connecting may take as long again as its own limit, whatever the plan says.
    limit_s = 2 * (plan.seconds + plan.drain_s) + 60 + plan.connections / 500
    try:
        async with asyncio.timeout(limit_s):
            out, err = await process.communicate(plan.encode())
    except TimeoutError:
        raise StartError(f"the load generator took over {limit_s:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        why = err.decode("utf-8", "replace").strip().splitlines()
        raise StartError(f"the load generator failed: {why[-1] if why else 'no word'}")
    return Load(plan, Outcome.decode(out))
