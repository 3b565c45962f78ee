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
from dataclasses import dataclass
from pathlib import Path

import atheris
from tests.fuzz.targets import TARGETS, Target

BUILD = Path("build/fuzz").resolve()
CORPUS = Path("build/fuzz-corpus").resolve()
FINDINGS = Path("build/fuzz-findings").resolve()
# Reason: a single input of these sizes takes milliseconds; more is a finding.
_INPUT_S = 10
_MEMORY_MB = 2048
_SHOWN_CHARS = 6000
_HUNG = -1
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


@dataclass(frozen=True)
class Run:
    """What one target came to.

    findings: Inputs that showed a fault. broken: The fuzzer itself failed, or hung.
    log: What libFuzzer and the sanitizers said.
    """

    name: str
    log: Path
    findings: tuple[Path, ...] = ()
    broken: bool = False

    def summary(self) -> str:
        """Return one line: inputs, their rate, and what they covered."""
        text = self.log.read_text(errors="replace")
        executed = _last(r"stat::number_of_executed_units:\s*(\d+)", text)
        rate = _last(r"stat::average_exec_per_sec:\s*(\d+)", text)
        memory = _last(r"stat::peak_rss_mb:\s*(\d+)", text)
        first, last = _last(r"INITED +cov: (\d+)", text), _last(r"cov: (\d+)", text)
        # An edge counts once more as a feature for each range of how often it is taken.
        features, kept = _last(r"ft: (\d+)", text), _last(r"corp: (\d+)", text)
        return (
            f"{self.name}: {executed} inputs, {rate}/s; edges {first} -> {last}, "
            f"features {features}, kept {kept}; {memory} MB; "
            f"{len(self.findings)} findings{', BROKEN' if self.broken else ''}"
        )

    def show(self) -> None:
        """Print the end of the log, and each finding as a file and as a literal."""
        text = self.log.read_text(errors="replace")
        say(f"the end of {self.log}:\n{text[-_SHOWN_CHARS:]}")
        for finding in self.findings:
            say(f"FOUND by {self.name}: {finding}")
            say(f"    {finding.read_bytes()!r}")
            say("again, sanitized: make build/fuzz/.built &&")
            say(
                f"    .venv/bin/python -m tests.fuzz.run --replay {finding} {self.name}"
            )
            say("again, in any build: from tests.fuzz.targets import TARGETS;")
            say(f'    TARGETS["{self.name}"].check(LITERAL)')


def fuzz(name: str, seconds: int) -> Run:
    """Fuzz one target for `seconds`, and say how it went."""
    target = TARGETS[name]
    folder = sow(name, target)
    FINDINGS.mkdir(parents=True, exist_ok=True)
    log = FINDINGS.parent / f"fuzz-{name}.log"
    with log.open("wb") as output:
        try:
            status = subprocess.run(
                command(
                    name,
                    f"-max_total_time={seconds}",
                    f"-max_len={target.max_bytes}",
                    f"-timeout={_INPUT_S}",
                    f"-rss_limit_mb={_MEMORY_MB}",
                    f"-artifact_prefix={FINDINGS}/{name}-",
                    # libFuzzer takes no empty one.
                    *([f"-dict={CORPUS / name}.dict"] if target.words else []),
                    "-print_final_stats=1",
                    str(folder),
                ),
                env=environment(),
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds + _GRACE_S,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            status = _HUNG
    written = re.findall(r"Test unit written to (\S+)", log.read_text(errors="replace"))
    findings = tuple(Path(path) for path in dict.fromkeys(written))
    run = Run(name, log, findings, broken=status != 0 and not findings)
    say(run.summary())
    if findings or run.broken:
        run.show()
    return run


def _last(pattern: str, log: str) -> str:
    found = re.findall(pattern, log)
    return found[-1] if found else "?"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 1 where anything was found, or a target could not run."""
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
    environment()  # the build is there, or nothing begins
    with ThreadPoolExecutor(max(1, chosen.jobs)) as pool:
        runs = list(pool.map(lambda name: fuzz(name, chosen.seconds), names))
    bad = [run.name for run in runs if run.findings or run.broken]
    took_s = time.monotonic() - start
    say(f"{len(runs)} targets, {took_s:.0f} s; faults: {', '.join(bad) or 'none'}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
