"""Wrk: a second opinion, where it is installed, by a client that is not ours.

Owns:      its command line, the script that takes tokens in turn, reading what it says.
Called by: runs finds maxima with it; peers repeats some lines with it.
Source:    wrk's own SCRIPTING file: `init(args)`, `request()`, `wrk.format`.

It needs less of a core than our generator, so it can fill gateways that ours cannot. It
checks the status of an answer and nothing else, and its latencies are those of a closed
loop, so they are not read.
"""

import asyncio
import pathlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Final

from fastgate.errors import StartError
from fastgate_bench.generator import FULL_CORE, MAX_CORE_SHARE
from fastgate_bench.machine import core_share, core_ticks
from fastgate_bench.plan import Plan

__all__ = ["Answered", "by_wrk", "find_wrk"]

_LIMIT_S: Final = 30.0  # past the length of the run
# Requests are made before the run; `init` has the arguments behind `--`.
_SCRIPT: Final = """
local requests, at = {}, 0
function init(args)
  if args[1] then
    for token in io.lines(args[1]) do
      requests[#requests + 1] = wrk.format(nil, nil,
        {["Authorization"] = "Bearer " .. token, ["Host"] = wrk.headers["Host"]})
    end
  else
    requests[1] = wrk.format()
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
"""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a run of wrk found.

    rate: Answers a second. count: Answers. core_share: How busy its core was.
    """

    rate: float
    count: int
    core_share: float

    def bottleneck(self) -> str:
        """Return why its rate is no figure of the server; empty where it is one."""
        full = self.core_share > MAX_CORE_SHARE
        return FULL_CORE.format(self.core_share) if full else ""


def find_wrk() -> str | None:
    """Return where wrk is; None where it is not installed."""
    return shutil.which("wrk")


async def by_wrk(wrk: str, plan: Plan) -> Answered:
    """Run a closed loop of wrk with the tokens of a plan, in turn.

    Only GETs without a body, and no other headers than those of the plan.
    Raises StartError: wrk failed, or had answers that were no success.
    """
    scheme = "https" if plan.tls else "http"
    with tempfile.TemporaryDirectory(prefix="fastgate-wrk-") as name:
        script = pathlib.Path(name) / "tokens.lua"
        script.write_text(_SCRIPT, "ascii")
        command = [wrk, "-t1", f"-c{plan.connections}"]
        command += [f"-d{max(1, round(plan.seconds))}s", "-s", str(script)]
        for header in (f"Host: {plan.authority}", *plan.headers):
            command += ["-H", header]
        command += [f"{scheme}://{plan.host}:{plan.port}{plan.target}", "--"]
        taskset = shutil.which("taskset")
        if plan.cpu >= 0 and taskset is not None:
            command = [taskset, "-c", str(plan.cpu), *command]
        if plan.tokens:
            command.append(plan.tokens)
        ticks = core_ticks(plan.cpu)
        out = await _output(command, plan.seconds + _LIMIT_S)
        share = core_share(ticks, core_ticks(plan.cpu))
    lines = out.splitlines()
    bad = [line for line in lines if "Non-2xx" in line or "Socket errors" in line]
    rates = [line.split()[1] for line in lines if line.startswith("Requests/sec")]
    counts = [line.split()[0] for line in lines if " requests in " in line]
    if bad or not rates or not counts:
        raise StartError(f"wrk: {(bad or lines or ['no word'])[-1].strip()}")
    return Answered(float(rates[0]), int(counts[0]), share)


async def _output(command: list[str], limit_s: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(limit_s):
            out, _ = await process.communicate()
    except TimeoutError:
        raise StartError("wrk did not end in time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return out.decode("utf-8", "replace")
