"""Compile the rooms that must be compiled; everything else is in pyproject.toml.

FASTGATE_BUILD chooses one of the five named builds below; wheels use `release`.
"""

import os
import pathlib

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

SANITIZE = "-fsanitize=address,undefined"

# name: (compiler flags, linker flags, Cython directives)
BUILDS: dict[str, tuple[list[str], list[str], dict[str, bool]]] = {
    "release": (["-O3", "-g0", "-fno-plt"], [], {}),  # no -march=native in a wheel
    "debug": (["-O0", "-g", "-UNDEBUG"], [], {"boundscheck": True}),
    "sanitize": (
        ["-O1", "-g", SANITIZE, "-fno-sanitize-recover=undefined"],
        [SANITIZE],
        {"boundscheck": True},
    ),
    # Clang only (CC=clang); the runtimes come with the fuzzer, see tests/fuzz.
    "fuzz": (
        [
            *("-O1", "-g", SANITIZE, "-fsanitize=fuzzer-no-link"),
            "-fno-sanitize-recover=undefined",
        ],
        [],
        {"boundscheck": True},
    ),
    "trace": (["-O0", "-DCYTHON_TRACE_NOGIL=1"], [], {"linetrace": True}),
}

# Cython's own generated C trips -Wconversion, so only our arithmetic is watched: the
# pyx files hold sizes in Py_ssize_t and Cython's warnings are errors (below).
WARNINGS = ["-Wall", "-Wno-unused-function"]

name = os.environ.get("FASTGATE_BUILD", "release")
if name not in BUILDS:
    raise SystemExit(f"FASTGATE_BUILD={name}: choose one of {', '.join(BUILDS)}")
cflags, ldflags, directives = BUILDS[name]

Options.warning_errors = True
CORES = len(os.sched_getaffinity(0))

PACKAGE = pathlib.Path("src/fastgate")
PURE = (
    *("domain/decision", "domain/request"),
    *("hotpath/facts", "hotpath/failures", "hotpath/gate", "hotpath/plan"),
    *("hotpath/token_rules", "hotpath/upstreams"),
)
SOURCES = [
    *sorted(PACKAGE.glob("_ext/*.pyx")),
    # Pure-Python mode: the gate, and what it reads and writes on every request. C
    # fields that several of them use stand in a .pxd.
    *(PACKAGE / f"{name}.py" for name in PURE),
]

MODULES = {
    ".".join(path.relative_to("src").with_suffix("").parts): path for path in SOURCES
}
if name == "fuzz":
    MODULES["fastgate_answer_probe"] = pathlib.Path("tests/fuzz/answer_probe.pyx")

setup(
    ext_modules=cythonize(
        [
            Extension(
                module,
                [str(path)],
                extra_compile_args=[*WARNINGS, *cflags],
                extra_link_args=ldflags,
            )
            for module, path in MODULES.items()
        ],
        include_path=["src"],
        build_dir=f"build/cython-{name}",
        nthreads=CORES,
        compiler_directives={"language_level": "3", **directives},
    ),
    # Objects of one build are up to date by their times, so another would take them.
    options={
        "build": {"build_base": f"build/made-{name}"},
        "build_ext": {"parallel": CORES},
    },
)
