"""What the source says, where import-linter, ruff and mypy do not look."""

import shutil
import subprocess

import pytest
from tests.style import rules

MAX_LINES = 400
DOORS = ("hotpath/native.py", "control/native.py", "wiring/")
# Reason for each: a sentence of its docstring, word for word.
LONGER = {
    "ports.py": "One file, longer than others, so that all borders of the product "
    "can be read in one place; it holds no code.",
    "hotpath/gate.py": "This file is longer than others because the order of checks "
    "is to be read in one place.",
    "_ext/http1_request.pyx": "Longer than others: an exchange is one object, read in "
    "one place from its first byte to its last.",
    "_ext/http1_front.pyx": "Longer than others: one object has every state of a "
    "connection.",
    "_ext/events.pyx": "Longer than others: a table and all that changes it are one "
    "object.",
    "_ext/revocations.pyx": "Longer than others: the reader and the writer of one "
    "layout stand side by side.",
}
# By room; what stands under _ext imports nothing else of fastgate at all.
MAY_CIMPORT = {
    "_ext": (rules.COMPILED,),
    "domain": ("fastgate.domain",),
    "hotpath": ("fastgate.hotpath", "fastgate.domain"),
}
# No Python imports these: other compiled modules `cimport` them.
WITHOUT_STUB = {"http1_lane", "http1_request", "http1_upstream"}

LONG_SOURCES = {
    rules.named(path): path.read_text()
    for path in rules.sources(".py", ".pyx", ".pxd", ".pyi")
    if len(path.read_text().splitlines()) > MAX_LINES
}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (rules.compiled_imports, "import fastgate._ext.token"),
        (rules.compiled_imports, "from fastgate._ext import token"),
        (rules.compiled_imports, "from fastgate._ext.token import scan"),
        (rules.compiled_imports, "from fastgate import _ext"),
        (rules.compiled_imports, "from .._ext import token"),
        (rules.compiled_imports, "import_module('fastgate._ext.token')"),
        (rules.python_faults, "def f(a):\n    assert a"),
        (rules.python_faults, "try:\n    f()\nexcept:\n    g()"),
        (rules.cython_faults, '"""Doc."""\ninclude "part.pxi"'),
        (rules.cython_faults, "DEF SIZE = 1"),
        (rules.cython_faults, "def f(a):\n    assert a"),
        (rules.cython_faults, "try:\n    f()\nexcept:  # all\n    g()"),
        (rules.foreign_text, "see /" + "home/someone/notes"),
        (rules.foreign_text, "made by a sub" + "agent"),
        (rules.package_faults, '"""Doc."""\nimport os'),
        (rules.package_faults, '"""Doc."""\n__all__ = []'),
        (rules.package_faults, ""),
    ],
)
def test_rule_finds_text_that_breaks_it(rule, text):
    """A rule that finds nothing anywhere would pass every file."""
    assert rule(text)


@pytest.mark.parametrize(
    "text",
    [
        "import fastgate.errors",
        "from fastgate.domain.verdict import Reason",
        "from fastgate._ext.token import scan",
        "cimport fastgate.hotpath.gate",
        "from fastgate.hotpath.facts cimport Facts",
        "from . cimport token",
        "    from fastgate.errors import BugError",
    ],
)
def test_cython_rule_finds_import_that_leaves_the_room(text):
    """Compiled loops import nothing of fastgate but each other's declarations."""
    assert rules.cython_imports(text, rules.COMPILED)


def test_rules_pass_text_that_only_speaks_of_what_they_refuse():
    """Prose is no code: a docstring or a comment may name what is forbidden."""
    prose = '"""Doc.\n\nassert nothing\nimport fastgate.errors\n"""\n# DEF A = 1\n'
    assert rules.cython_faults(prose) == []
    assert rules.cython_imports(prose, rules.COMPILED) == []
    assert rules.compiled_imports(prose) == []


def test_sources_reach_compiled_modules_through_their_doors_only():
    """One room that takes a compiled module itself would escape the version check."""
    faults = {
        rules.named(path): found
        for path in rules.sources(".py")
        if not rules.named(path).startswith(DOORS)
        if (found := rules.compiled_imports(path.read_text()))
    }
    assert faults == {}


def test_compiled_sources_import_declarations_of_the_rooms_they_may_know_only():
    """A `cimport` is an import, and import-linter does not see it."""
    faults = {
        rules.named(path): found
        for path in rules.sources(".pyx", ".pxd")
        if (
            found := rules.cython_imports(
                path.read_text(), *MAY_CIMPORT[path.parent.name]
            )
        )
    }
    assert faults == {}


def test_cython_sources_use_no_textual_include_no_def_no_assert_no_bare_except():
    """Macros hide what is compiled, and a bare except what went wrong."""
    faults = {
        rules.named(path): found
        for path in rules.sources(".pyx", ".pxd")
        if (found := rules.cython_faults(path.read_text()))
    }
    assert faults == {}


def test_python_sources_use_no_assert_and_no_bare_except():
    """`python -O` removes an assert, so no check may be one."""
    faults = {
        rules.named(path): found
        for path in rules.sources(".py", ".pyi")
        if (found := rules.python_faults(path.read_text()))
    }
    assert faults == {}


def test_compiled_sources_have_a_stub_beside_them_wherever_python_imports_them():
    """mypy reads no Cython: without a stub, a door would be typed Any."""
    missing = {
        path.stem
        for path in rules.sources(".pyx")
        if not path.with_suffix(".pyi").exists()
    }
    assert missing == WITHOUT_STUB
    for path in rules.sources(".py", ".pyi"):
        text = path.read_text()
        assert not [name for name in missing if name in text], rules.named(path)


def test_sources_are_short_unless_their_docstring_says_why_not():
    """A long file needs a reason, where its reader looks first."""
    assert LONG_SOURCES.keys() == LONGER.keys()
    for name, text in LONG_SOURCES.items():
        assert LONGER[name] in rules.docstring(text), name


def test_packages_hold_a_docstring_and_nothing_else():
    """An import of a package costs nothing and hides no name's home."""
    faults = {
        rules.named(path): found
        for path in rules.sources(".py")
        if path.name == "__init__.py"
        if (
            found := rules.package_faults(
                path.read_text(),
                frozenset({"__version__"} if path.parent == rules.SOURCE else ()),
            )
        )
    }
    assert faults == {}


def test_repository_names_no_machine_and_not_how_it_was_made():
    """What is tracked says what fastgate is, wherever it is checked out."""
    git = shutil.which("git")
    if git is None or not (rules.ROOT / ".git").exists():
        pytest.skip("no git checkout, so nothing says which files are tracked")
    listed = subprocess.run(
        [git, "-C", str(rules.ROOT), "ls-files", "-z"],
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    ).stdout
    faults = {}
    for name in filter(None, listed.split("\0")):
        path = rules.ROOT / name
        # A tracked file may be deleted and not yet committed; images are no text.
        text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        if found := rules.foreign_text(text):
            faults[name] = found
    assert faults == {}
