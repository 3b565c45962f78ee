"""The list of the third-party sets: where each comes from, at which commit.

Called by: fetch.py and report.py here; manifest.json beside this file is the list.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MANIFEST = Path(__file__).with_name("manifest.json")


@dataclass(frozen=True)
class Source:
    """One set.

    folder: Its folder among the vectors. under: Folder of its files in `repository`.
    files: SHA-256 by path, of those that are taken as they are; empty for an extract.
    """

    folder: str
    repository: str
    commit: str
    licence: str
    under: str
    files: Mapping[str, str]

    def upstream(self, path: str) -> str:
        """Return where a file of this set is in its repository."""
        return path if path == "LICENSE" else self.under + path


def sources(manifest: Path = MANIFEST) -> list[Source]:
    """Return every set; those that can be fetched come first."""
    document = json.loads(manifest.read_bytes())
    bare = {"under": "", "files": {}}
    return [
        Source(**(bare | entry))
        for entry in (*document["offered"], *document["extracts"])
    ]


def base_url(manifest: Path = MANIFEST) -> str:
    """Return where the repositories can be read, one file at a time."""
    found: str = json.loads(manifest.read_bytes())["base_url"]
    return found
