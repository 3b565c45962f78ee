"""Fuzz each target for a set time, or replay one input.

Called by: `make fuzz`, continuous integration, and whoever looks at a finding.

    python -m tests.fuzz.run --seconds 60 [TARGET ...]
    python -m tests.fuzz.run --replay FILE TARGET

Needs the build named `fuzz` in build/fuzz (`make build/fuzz/.built`). Inputs that
reached new code are kept in build/fuzz-corpus and start the next run.
"""

import argparse
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import atheris
from tests.fuzz.targets import TARGETS, Target

BUILD = Path("build/fuzz").resolve()
CORPUS = Path("build/fuzz-corpus").resolve()
FINDINGS = Path("build/fuzz-findings").resolve()
# Reason: a single input of these sizes takes milliseconds; more is a finding.
_INPUT_S = 10
_MEMORY_MB = 2048
# Reason: libFuzzer looks at its clock between inputs; start and end take a while too.
_GRACE_S = 120


def say(text: str) -> None:
    """Write a line now: a run takes minutes, and its log is read while it goes on."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def environment() -> dict[str, str]:
    """Variables under which the sanitized build runs.

    Raises SystemExit where it is not there, or was built without a sanitizer.
    """
    modules = list(BUILD.glob("fastgate/_ext/token*.so"))
    if len(modules) != 1 or b"__sanitizer_cov" not in modules[0].read_bytes():
        raise SystemExit(f"no fuzzing build in {BUILD}: run make fuzz")
    path = [str(BUILD), str(Path.cwd())]
    return os.environ | {
        "LD_PRELOAD": str(Path(atheris.path()) / "asan_with_fuzzer.so"),
        # Python keeps what it made until it ends, and asks for sizes it cannot get.
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": os.pathsep.join(path),
    }


def sow(name: str, target: Target) -> Path:
    """Write seeds and dictionary of a target; returns the folder of its corpus."""
    folder = CORPUS / name
    folder.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        if len(seed) <= target.max_bytes:
            (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
    words = b"".join(b'"%b"\n' % word for word in target.words)
    (CORPUS / f"{name}.dict").write_bytes(words)
    return folder


def command(name: str, *arguments: str) -> list[str]:
    """Return what starts the process of a target."""
    return [sys.executable, "-m", "tests.fuzz.child", name, *arguments]


def fuzz(name: str, seconds: int) -> list[Path]:
    """Fuzz one target for `seconds`; returns the inputs that showed a fault."""
    target = TARGETS[name]
    folder = sow(name, target)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    known = set(FINDINGS.glob(f"{name}-*"))
    log = FINDINGS.parent / f"fuzz-{name}.log"
    with log.open("wb") as output:
        done = subprocess.run(
            command(
                name,
                f"-max_total_time={seconds}",
                f"-max_len={target.max_bytes}",
                f"-timeout={_INPUT_S}",
                f"-rss_limit_mb={_MEMORY_MB}",
                f"-artifact_prefix={FINDINGS}/{name}-",
                f"-dict={CORPUS / name}.dict",
                "-print_final_stats=1",
                str(folder),
            ),
            env=environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=seconds + _GRACE_S,
            check=False,
        )
    text = log.read_text(errors="replace")
    found = sorted(set(FINDINGS.glob(f"{name}-*")) - known)
    say(summary(name, text, len(found)))
    if done.returncode:
        say(text[-6000:])
    if done.returncode and not found:
        raise SystemExit(f"{name}: the fuzzer itself failed; see {log}")
    return found


def summary(name: str, log: str, findings: int) -> str:
    """Return one line about a run: inputs, their rate, and what they covered."""
    executed = _last(r"stat::number_of_executed_units:\s*(\d+)", log)
    rate = _last(r"stat::average_exec_per_sec:\s*(\d+)", log)
    memory = _last(r"stat::peak_rss_mb:\s*(\d+)", log)
    # Where inputs were read, and how it ended: edges, and edges by how often taken.
    first, last = _last(r"INITED +cov: (\d+)", log), _last(r"cov: (\d+)", log)
    features, kept = _last(r"ft: (\d+)", log), _last(r"corp: (\d+)", log)
    return (
        f"{name}: {executed} inputs, {rate}/s; {last} edges ({first} with what was "
        f"known), {features} features, {kept} inputs kept; {memory} MB; "
        f"{findings} findings"
    )


def _last(pattern: str, log: str) -> str:
    found = re.findall(pattern, log)
    return found[-1] if found else "?"


def show(name: str, finding: Path) -> None:
    """Print a finding as a literal, and how to see it again."""
    say(f"FOUND by {name}, {finding.stat().st_size} bytes:")
    say(f"    {finding.read_bytes()!r}")
    say("again, sanitized: make build/fuzz/.built &&")
    say(f"    .venv/bin/python -m tests.fuzz.run --replay {finding} {name}")
    say("again, in any build: from tests.fuzz.targets import TARGETS;")
    say(f'    TARGETS["{name}"].check(LITERAL)')


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--jobs", type=int, default=1, help="targets at a time")
    parser.add_argument("--replay", help="a file with one input")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    chosen = parser.parse_args(arguments)
    names = chosen.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    if chosen.replay:
        replay = command(names[0], chosen.replay)
        return subprocess.run(replay, env=environment(), check=False).returncode
    start = time.monotonic()
    failed = False
    with ThreadPoolExecutor(max(1, chosen.jobs)) as pool:
        runs = pool.map(lambda name: fuzz(name, chosen.seconds), names)
        for name, findings in zip(names, runs, strict=True):
            for finding in findings:
                show(name, finding)
                failed = True
    say(f"{len(names)} targets, {time.monotonic() - start:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
