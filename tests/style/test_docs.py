"""Pages that are generated equal what generates them, and what they name exists."""

import re
from collections import Counter

import pytest
from tests.domain import reasons_reference
from tests.style.rules import ROOT

from fastgate.domain.verdict import OUTCOMES, Reason

PAGES = ["README.md", *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)")
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
MAKE = re.compile(r"(?<![\w-])make\s+(?:[A-Z_]+=\S+\s+)*([a-z][a-z-]*)")


def test_reasons_page_equals_the_table():
    """docs/reasons.md is generated, never edited."""
    page = ROOT / "docs" / "reasons.md"
    assert page.read_text() == reasons_reference.text()


def test_reasons_page_tells_every_reason_from_every_other():
    """A title that reasons share says nothing to the operator who reads a log."""
    shared = Counter(outcome.title for outcome in OUTCOMES.values())
    unclear = {reason for reason in Reason if shared[OUTCOMES[reason].title] > 1}
    assert reasons_reference.MEANINGS.keys() == unclear


@pytest.mark.parametrize("page", sorted(PAGES))
def test_page_links_to_files_that_exist(page):
    """A link that leads nowhere is worse than none."""
    path = ROOT / page
    links = LINK.findall(path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []
    assert links or page != "README.md"


def test_readme_names_make_targets_that_exist():
    """The first command that somebody types must work."""
    code = " ".join(CODE.findall((ROOT / "README.md").read_text()))
    named = set(MAKE.findall(code))
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", makefile))
    assert {"demo", "test"} <= named
    assert named <= targets
