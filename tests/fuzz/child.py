"""One target under libFuzzer, in a process of its own.

Owns:      the fuzzing process; it ends at the first fault.
Called by: tests.fuzz.run, as `python -m tests.fuzz.child TARGET [libFuzzer arguments]`
           with the sanitizer's runtime preloaded.
"""

import sys

import atheris

# Python modules are instrumented while they are imported; compiled ones were built so.
with atheris.instrument_imports(include=["fastgate"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until a limit in the arguments, or replay the files they name."""
    name, *arguments = sys.argv[1:]
    atheris.Setup([sys.argv[0], *arguments], TARGETS[name].check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
