"""The parser of the general lane is one whose faults are mended."""

import re
import tomllib
from pathlib import Path

import aiohttp
import aiohttp.http_parser

# 3.14.3: a read out of bounds in the parser of answers (GHSA-cq5v-8q36-5273);
# 3.14.4: quadratic work for compressed bodies (CVE-2026-128131).
FLOOR = (3, 14, 4)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def test_ghsa_cq5v_8q36_5273_no_older_aiohttp_is_let_in():
    """Neither here nor where the package is installed."""
    project = Path(__file__).parents[2] / "pyproject.toml"
    needs = tomllib.loads(project.read_text())["project"]["dependencies"]
    (wanted,) = (need for need in needs if re.match(r"aiohttp\b", need))
    floor = re.search(r">=\s*([0-9.]+)", wanted)
    assert floor is not None
    assert _version(floor[1]) >= FLOOR
    assert _version(aiohttp.__version__) >= FLOOR


def test_parser_is_the_one_that_was_tested():
    """aiohttp's slow one reads some messages differently."""
    parser = aiohttp.http_parser.HttpRequestParser
    assert parser.__module__ == "aiohttp._http_parser"
