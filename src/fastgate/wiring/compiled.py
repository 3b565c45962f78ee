"""Compiled: wiring's door to the compiled modules, and the check that they are there.

Owns:      nothing.
Called by: the other files of wiring; whoever imports it has all of them, or StartError.

There is no fall-back, as hotpath.native says. The gate needs a look of its own: its
source is Python, and without the compiled module the interpreter would take that.
"""

from importlib.machinery import EXTENSION_SUFFIXES

from fastgate.errors import StartError

try:
    from fastgate._ext import counters, decisions, http1, revocations
    from fastgate.hotpath import gate, native
except ImportError as missing:
    raise StartError(
        "the compiled modules of fastgate are missing: install a wheel, or build them "
        "with `pip install .` (needs gcc and the Python headers)"
    ) from missing

__all__ = ["counters", "decisions", "http1", "native", "revocations"]

if not str(gate.__file__).endswith(tuple(EXTENSION_SUFFIXES)):
    raise StartError(
        "the gate is not compiled: install a wheel, or build it with `pip install .` "
        "(needs gcc and the Python headers)"
    )
