"""Rounds: disturb the rig, heal it, compare what the nodes know; again and again.

Owns:      the bench `window`.
Called by: suite.
Source:    REVOCATION.md sections 1 (what counts as accepted, and from when) and 6.

Each round draws its faults from the seed and its own number, so that a round can be run
again by both. Nothing of one is under way when the next begins.
"""

import asyncio
import pathlib
import random
import secrets
import signal
import tempfile
from typing import Final

from fastgate_bench.figures import Measured
from fastgate_bench.options import Options, Tell
from fastgate_bench.window.checker import Logs, judge
from fastgate_bench.window.faults import Planned, plan
from fastgate_bench.window.load import Load
from fastgate_bench.window.node import NODES
from fastgate_bench.window.rig import Rig
from fastgate_bench.window.totals import Totals, note

__all__ = ["run"]

_MAX_STALENESS: Final = "10s"
_ROUNDS: Final = 10
_QUICK_ROUNDS: Final = 1
_RATE: Final = 30.0
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_TAIL_S: Final = 1.0
# Reason: at 60 revocations a second, 100 rounds have more than 100,000.
_LEAST_S: Final = 17.0
_HEAL_S: Final = 45.0
_OK, _REFUSED, _UNAVAILABLE = 200, 401, 503
_SETTLE_S: Final = 2.0
_SETTLE_TRIES: Final = 4
_LIFTED: Final = 2  # as Revoked.lifted has it
# What was entered at such a node, and nobody was told of, may be gone or be void.
_WIPES: Final = ("state-wiped", "state-restored", "state-cloned", "hash-key-unequal")


async def run(options: Options, tell: Tell) -> Measured:
    """Run the rounds, or those until a signal ends them: what they found is kept.

    Raises StartError where the rig does not start.
    """
    rounds = options.rounds or (_QUICK_ROUNDS if options.quick else _ROUNDS)
    seed = options.seed or secrets.randbelow(10**9) + 1
    totals = Totals(rounds)
    measured = Measured(
        conditions={
            "seed": seed,
            "rounds": rounds,
            "nodes": ", ".join(NODES),
            "max_staleness": _MAX_STALENESS,
            "revocations_per_s": options.rate or _RATE,
        }
    )
    with tempfile.TemporaryDirectory(prefix="fastgate-window-") as name:
        folder = pathlib.Path(options.keep or name)
        series = _Series(options, seed, folder, totals, measured)
        running = asyncio.create_task(series.run(tell))
        try:
            await _until_signalled(running)
        finally:
            await asyncio.shield(series.stop())
    totals.into(measured)
    return measured


async def _until_signalled(running: asyncio.Task[None]) -> None:
    loop = asyncio.get_running_loop()
    for signum in _ENDING:
        loop.add_signal_handler(signum, running.cancel)
    try:
        await asyncio.wait({running})
        if not running.cancelled():
            running.result()
    finally:
        for signum in _ENDING:
            loop.remove_signal_handler(signum)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _chance(seed: int, number: int) -> random.Random:
    return random.Random(f"{seed}/{number}")


class _Series:
    """Rounds on one rig; on another one where it did not heal.

    totals, measured: Where each round that is over goes, and what it was made on.
    """

    def __init__(
        self,
        options: Options,
        seed: int,
        folder: pathlib.Path,
        totals: Totals,
        measured: Measured,
    ) -> None:
        self._options = options
        self._seed = seed
        self._folder = folder
        self._totals = totals
        self._notes = measured.notes
        self._conditions = measured.conditions
        self._rigs = 0
        self._rig: Rig | None = None
        self._logs: Logs | None = None

    async def run(self, tell: Tell) -> None:
        """Run all of them, one after the other."""
        first, rounds = self._options.first, self._totals.wanted
        for number in range(first, first + rounds):
            faults = plan(number, _chance(self._seed, number))
            text = ", ".join(map(str, faults))
            tell(f"round {number}: {text}", (number - first) / rounds)
            await self._round(number, faults)
            tell(self._notes[-1], (number - first + 1) / rounds)

    async def stop(self) -> None:
        """End the rig."""
        rig, self._rig = self._rig, None
        if rig is not None:
            await rig.stop()

    def _keep(self, line: str) -> None:
        self._notes.append(line)
        with (self._folder / "rounds.log").open("a", encoding="utf-8") as out:
            out.write(f"{line}\n")

    async def _running(self) -> tuple[Rig, Logs]:
        if self._rig is None or self._logs is None:
            self._rigs += 1
            folder = self._folder / f"rig-{self._rigs}"
            await asyncio.to_thread(folder.mkdir, parents=True)
            self._rig = Rig(folder, _MAX_STALENESS)
            await self._rig.start()
            why = self._rig.obstacle
            self._conditions["links"] = f"proxies: {why}" if why else "namespaces"
            client = folder / "client.log"
            client.touch()
            self._logs = Logs(client, self._rig.upstream_log)
        return self._rig, self._logs

    async def _round(self, number: int, faults: list[Planned]) -> None:
        """Disturb, heal, compare; the load goes on all the while."""
        rig, logs = await self._running()
        rate = self._options.rate or _RATE
        with (rig.folder / "client.log").open("a", encoding="utf-8") as out:
            chance = _chance(self._seed, -number - 1)
            load = Load(rig, f"r{number}", chance, rate, out)
            rig.publish, rig.remarks = load.published, []
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(load.run())
                least = tasks.create_task(asyncio.sleep(_LEAST_S))
                broken = await asyncio.gather(
                    *(fault.happen(rig) for fault in faults), return_exceptions=True
                )
                healed_s = await rig.until_healed(_HEAL_S)
                # What comes back to life after the heal has its time to do so.
                await least
                load.end()
            lost, wrong, silent = await _compare(load, faults)
            await load.ask_all_good()
        await asyncio.sleep(_TAIL_S)  # the upstream writes its log every 20 ms
        lines, first, count, late_ns = logs.read()
        lifted = frozenset(it.id for it in load.revoked if it.lifted)
        found = judge(lines, first, count, lifted)
        found.lost, found.unhealed = lost, silent
        if healed_s is not None:
            # A lift counts once all that may revoke its key has been read.
            found.refused += wrong
        found.late_ns = max(late_ns, load.late_ns)
        found.unhealed += [repr(error) for error in broken if error is not None]
        if healed_s is None:
            why = await rig.explain()
            found.unhealed.insert(0, f"not complete in time: {why}")
        self._totals.add(faults, found, healed_s)
        self._keep(note(number, ", ".join(map(str, faults)), found, rig.remarks))
        if found.unhealed:
            await self.stop()  # what comes after it would be of no known state


async def _compare(
    load: Load, faults: list[Planned]
) -> tuple[list[str], list[str], list[str]]:
    """Ask all nodes about all tokens of the round, until each has said yes or no.

    Returns revoked tokens that were accepted, lifted ones that were refused, and what
    was not answered at all.
    """
    wiped = {fault.target for fault in faults if fault.name in _WIPES}
    lost: list[str] = []
    wrong: list[str] = []
    silent: list[str] = []
    for attempt in range(_SETTLE_TRIES):
        lost, wrong, silent = [], [], []
        for node, it, status in await load.ask_all_revoked():
            kept = it.told_ns or (it.entered and it.node not in wiped)
            line = f"{it}: {node}"
            if status not in {_OK, _REFUSED}:
                silent.append(f"{line} answered {status}")
            elif it.lifted == 0 and kept and status == _OK:
                lost.append(line)
            elif it.lifted == _LIFTED and status == _REFUSED:
                wrong.append(f"{line} (lifted)")
        # What was asked of a node that was just started again may have had no answer;
        # a lift has the way of a revocation before it.
        if not silent and not wrong:
            break
        if attempt < _SETTLE_TRIES - 1:
            await asyncio.sleep(_SETTLE_S)
    return lost, wrong, silent
