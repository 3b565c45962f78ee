"""docs/admin-api.md names what the listeners really serve."""

import pathlib
import re

import pytest

from fastgate.admin import explain, revocations
from fastgate.admin.api import AdminListener
from fastgate.admin.problems import _PROBLEMS

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "admin-api.md"


@pytest.fixture(scope="module")
def page():
    """Return the text of the page."""
    return PAGE.read_text(encoding="utf-8")


def test_page_has_every_route_and_no_other(page, agent_routes):
    """A row of the table for a row of the code."""
    assert set(re.findall(r"^\| `((?:GET|POST) /v1/\S+)` \|", page, re.MULTILINE)) == (
        agent_routes
    )


@pytest.fixture
def agent_routes(agent):
    """Return the routes that are served."""
    listener = AdminListener(agent, token=None, names=())
    return {f"{r.method} {r.path.replace('*', '{id}')}" for r in listener._routes}


def test_page_has_every_code_with_its_status(page):
    """What a caller may be told is written down."""
    said = {}
    for codes, statuses in re.findall(
        r"^\| ((?:`\w+`(?:, )?)+) \| ([\d, ]+) \|", page, re.MULTILINE
    ):
        names = re.findall(r"\w+", codes)
        numbers = [int(n) for n in statuses.split(",")]
        numbers *= len(names) if len(numbers) == 1 else 1
        said |= dict(zip(names, numbers, strict=True))
    assert said == {code: status for code, (status, _) in _PROBLEMS.items()}


def test_page_has_every_member(page):
    """Each member of a request has a row or a sentence."""
    for member in {*revocations.MEMBERS, *explain.MEMBERS}:
        assert f"`{member}`" in page
