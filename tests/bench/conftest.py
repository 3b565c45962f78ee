"""The suite under test is the installed one; in a plain checkout, the source."""

import importlib.util
import os
import sys
from pathlib import Path

if importlib.util.find_spec("fastgate_bench") is None:
    source = str(Path(__file__).parents[2] / "bench")
    sys.path.append(source)
    # Also for the processes that tests start.
    paths = [os.environ.get("PYTHONPATH", ""), source]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
