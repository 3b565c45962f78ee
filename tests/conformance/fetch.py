"""Fetch the third-party sets that are files as their projects publish them.

    python -m tests.conformance.fetch DIR

Each file is read at the commit that manifest.json names, and put in place only if its
SHA-256 is the one that it names. What is there already is left alone. Then

    FASTGATE_VECTORS=DIR python -m tests.conformance.report

judges what was fetched. The HTTP sets, NIST's and the collected tokens are extracts
from source code and documents, no files of their projects, and are not offered here.
"""

import argparse
import hashlib
import http.client
import os
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from tests.conformance.sources import MANIFEST, Source, base_url, sources

# Reason: the largest file has 200 KB; more than this is not what was asked for.
_MAX_BYTES = 4 << 20
_TIMEOUT_S = 30.0


class FetchError(Exception):
    """A file was not there, or was another one; the text says which."""


def fetch(folder: Path, *, base: str, manifest: Path = MANIFEST) -> list[Path]:
    """Fetch what is missing below `folder`; returns the files that were written.

    Raises FetchError; every file that is in place by then is whole and right.
    """
    written = []
    offered = [source for source in sources(manifest) if source.files]
    for source in offered:
        for name, digest in source.files.items():
            path = folder / source.folder / name
            if path.is_file() and _digest(path.read_bytes()) == digest:
                continue
            _put(path, _read(base, source, name, digest))
            written.append(path)
    # Last of all: tests look for it, so a folder without it is not used.
    _put(folder / "SOURCES.md", _describe(sources(manifest)).encode())
    return written


def _read(base: str, source: Source, name: str, digest: str) -> bytes:
    upstream = urllib.parse.quote(source.upstream(name))
    url = f"{base}/{source.repository}/{source.commit}/{upstream}"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            body: bytes = answer.read(_MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise FetchError(f"{url}: {error}") from error
    if len(body) > _MAX_BYTES:
        raise FetchError(f"{url}: more than {_MAX_BYTES} bytes")
    if _digest(body) != digest:
        raise FetchError(f"{url}: SHA-256 is {_digest(body)}, not {digest}")
    return body


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _put(path: Path, body: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".fetching-")
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(body)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _describe(every: list[Source]) -> str:
    lines = ["# Third-party test inputs", "", "Fetched, each file checked by SHA-256:"]
    lines += [f"- {_line(source)}" for source in every if source.files]
    lines += ["", "Not offered, because they are extracts:"]
    lines += [f"- {_line(source)}" for source in every if not source.files]
    return "\n".join([*lines, ""])


def _line(source: Source) -> str:
    return f"`{source.folder}`: {source.repository} {source.commit}, {source.licence}"


def main() -> int:
    """Run from the command line; 1 where a file could not be had."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--base-url", default=base_url())
    options = parser.parse_args()
    try:
        written = fetch(options.folder, base=options.base_url)
    except FetchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"{len(written)} files written below {options.folder}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
