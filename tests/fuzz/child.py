"""One target under libFuzzer, in a process of its own.

Owns:      the fuzzing process; it ends at the first fault.
Called by: tests.fuzz.run, as `python -m tests.fuzz.child TARGET [libFuzzer arguments]`
           with the sanitizer's runtime preloaded.
"""

import random
import sys
from collections.abc import Callable

import atheris

# Python modules are instrumented while they are imported; compiled ones were built so.
with atheris.instrument_imports(include=["fastgate"]):
    from tests.fuzz.targets import TARGETS

_OWN_SHARE = 0.5


def main() -> None:
    """Fuzz until a limit in the arguments, or replay the files they name."""
    name, *arguments = sys.argv[1:]
    own = {"custom_mutator": _both(mutate)} if (mutate := TARGETS[name].mutate) else {}
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check, **own)
    atheris.Fuzz()


def _both(
    mutate: Callable[[bytes, random.Random], bytes],
) -> Callable[[bytes, int, int], bytes]:
    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        chosen = random.Random(seed)
        if chosen.random() < _OWN_SHARE:
            return mutate(data, chosen)[:max_size]
        return atheris.Mutate(data, max_size)

    return mutated


if __name__ == "__main__":
    main()
