"""Rules that are read off source text; import-linter sees no compiled module.

Each takes a file's text and returns what it refuses, one finding a string, so that
the tests can show every rule a text that breaks it.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "fastgate"
COMPILED = "fastgate._ext"

_TRIPLE_QUOTED = re.compile(r'"""(?:\\.|[^\\])*?"""', re.DOTALL)
_COMMENT = re.compile(r"(?m)(?:^|\s)#.*$")
_LINE_RULES = {
    "include": re.compile(r"""(?m)^\s*include\s+["']"""),
    "DEF": re.compile(r"(?m)^\s*DEF\s+\w+\s*="),
    "assert": re.compile(r"(?m)^\s*assert\b"),
    "bare except": re.compile(r"(?m)^\s*except\s*:"),
}
_PERHAPS_FAULTY = re.compile(r"\bassert\b|\bexcept\s*(?:\\\s*)?:")
_OWN_IMPORT = re.compile(
    r"(?m)^\s*(?:from\s+(?P<package>fastgate[\w.]*|\.[\w.]*)\s+(?P<how>c?import)"
    r"|(?P<bare>c?import)\s+(?P<module>fastgate[\w.]*))\b"
)
# Written so that no pattern matches its own text: this file is looked at, too.
_FOREIGN = {
    "a path of one machine": re.compile(r"(?<![\w.])/(?:home|root|Users|work)/\w"),
    "a word on how work is organised": re.compile(
        r"\b(?:helper)[ -]sessions?\b|\bsub-?agents?\b", re.IGNORECASE
    ),
}


def sources(*suffixes: str) -> list[Path]:
    """Return the source files with one of these suffixes, sorted."""
    return sorted(p for p in SOURCE.rglob("*") if p.suffix in suffixes)


def named(path: Path) -> str:
    """Return a source file's name below the package."""
    return path.relative_to(SOURCE).as_posix()


def docstring(text: str) -> str:
    """Return a module's docstring with single spaces, also of a Cython file."""
    found = _TRIPLE_QUOTED.search(text)
    return " ".join(found[0].strip('"').split()) if found else ""


def _code_of(text: str) -> str:
    # Cython without what is prose: docstrings (their lines are kept) and comments.
    kept = _TRIPLE_QUOTED.sub(lambda found: "\n" * found[0].count("\n"), text)
    return _COMMENT.sub("", kept)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # A relative import is taken for the worst it can be.
        module = "." * node.level + (node.module or "")
        base = re.sub(r"^\.+", "fastgate.", module).rstrip(".")
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        # For importlib.import_module and its like.
        yield node.value


def compiled_imports(text: str) -> list[str]:
    """Return the places of a Python file that reach for a compiled module."""
    if "_ext" not in text:  # saves reading most files
        return []
    return [
        f"line {getattr(node, 'lineno', 0)}: {name}"
        for node in ast.walk(ast.parse(text))
        for name in _imported(node)
        if name == COMPILED or name.startswith(COMPILED + ".")
    ]


def python_faults(text: str) -> list[str]:
    """Return the `assert` statements and bare `except:` of a Python file."""
    if not _PERHAPS_FAULTY.search(text):  # saves reading most files
        return []
    faults = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assert):
            faults.append(f"line {node.lineno}: assert")
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(f"line {node.lineno}: bare except")
    return faults


def cython_faults(text: str) -> list[str]:
    """Return `include`, `DEF`, `assert` and bare `except:` of a Cython file."""
    code = _code_of(text)
    return [
        f"line {code.count(chr(10), 0, found.end()) + 1}: {name}"
        for name, pattern in _LINE_RULES.items()
        for found in pattern.finditer(code)
    ]


def cython_imports(text: str, *packages: str) -> list[str]:
    """Return the imports of fastgate other than a `cimport` from these packages.

    packages: Whose C declarations the file may read.
    """
    faults = []
    for found in _OWN_IMPORT.finditer(_code_of(text)):
        module = found["package"] or found["module"]
        inside = any(f"{module}.".startswith(f"{package}.") for package in packages)
        if (found["how"] or found["bare"]) != "cimport" or not inside:
            faults.append(found[0].strip())
    return faults


def foreign_text(text: str) -> list[str]:
    """Return what belongs to a machine or to the making, and to no repository."""
    return [
        f"{name}: {found[0]}"
        for name, pattern in _FOREIGN.items()
        for found in pattern.finditer(text)
    ]


def package_faults(text: str, allowed: frozenset[str] = frozenset()) -> list[str]:
    """Return what an `__init__` holds besides its docstring.

    allowed: Names that may be assigned.
    """
    first, *rest = ast.parse(text).body or [ast.Pass()]
    faults = []
    if not (isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)):
        faults.append("no docstring")
    for node in rest:
        names = (
            {ast.unparse(t) for t in node.targets}
            if isinstance(node, ast.Assign)
            else {""}
        )
        if not names <= allowed:
            faults.append(f"line {node.lineno}: {ast.unparse(node)}")
    return faults
