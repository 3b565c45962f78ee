"""Results: what the last run on a machine like this one found, kept in a folder.

Owns:      the layout of that folder: MACHINE/NAME.json, with its page beside it.
Called by: suite.

Figures of two machines do not compare, so each kind of machine has a folder of its own,
named by its fingerprint. Only the last run is kept; a repository has those before it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import orjson

from fastgate.errors import ConfigError
from fastgate_bench.machine import fingerprint

__all__ = ["earlier", "folder_of"]


def folder_of(root: pathlib.Path, machine: Mapping[str, Any]) -> pathlib.Path:
    """Return the folder of machines like this one."""
    return root / fingerprint(machine)


def earlier(
    root: pathlib.Path, machine: Mapping[str, Any], name: str
) -> dict[str, float]:
    """Return the values of the last kept run of a bench, by metric; {}: there is none.

    Raises ConfigError where what is there is no result.
    """
    path = folder_of(root, machine) / f"{name}.json"
    try:
        figures = orjson.loads(path.read_bytes())["figures"]
        return {
            str(figure["metric"]): float(figure["value"])
            for figure in figures
            if figure["value"] is not None
        }
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: is no result of a bench") from error
