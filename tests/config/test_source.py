"""YAML is read strictly, with places, and within bounds."""

import pytest

from fastgate.config.source import ListNode, MapNode, ScalarNode, SourceError, read


def value(text):
    node, faults = read(text)
    assert not faults

    def plain(node):
        if isinstance(node, MapNode):
            return {k: plain(child) for k, (_, _, child) in node.entries.items()}
        if isinstance(node, ListNode):
            return [plain(child) for child in node.items]
        return node.value

    return plain(node)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("~", None),
        ("", None),
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-11-21", "2026-11-21"),
        ("'5'", "5"),
        ('"no"', "no"),
        ("<<", "<<"),
        ("9" * 19, "9" * 19),
    ],
)
def test_scalar_has_its_meaning_of_the_core_schema(text, meaning):
    """YAML 1.2: `no` is a region, not False; a time is a text."""
    assert value(f"a: {text}") == {"a": meaning}


def test_places_count_from_one():
    """Line and column are what an editor shows, of key and value alike."""
    node, _ = read("a:\n  b: [x, yy]\n")
    line, col, inner = node.entries["a"][2].entries["b"]
    assert (line, col) == (2, 3)
    assert [(item.line, item.col) for item in inner.items] == [(2, 7), (2, 10)]


def test_faults_are_collected_where_the_rest_is_readable():
    """A duplicate key, a key that is no text and a tag are told together."""
    node, faults = read("a: 1\na: 2\n5: x\nb: !!str 7\n")
    assert [(f.line, f.col) for f in faults] == [(2, 1), (3, 1), (4, 4)]
    assert isinstance(node, MapNode)
    assert node.entries["a"][2] == ScalarNode(1, 4, 1)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", "is empty", (1, 1)),
        ("a: [", "is no YAML", (1, 5)),
        ("a: b: c", "is no YAML", (1, 5)),
        ("a:\n\t- b", "is no YAML", (2, 1)),
        ("a: 1\n---\nb: 2\n", "more than one", (2, 1)),
        ("a: *b", "names nothing", (1, 4)),
        ("a: &a [*a]", "contains itself", (1, 8)),
        ("%YAML 1.1\n---\na: no", "YAML 1.2", (2, 1)),
        ("a: b\nc: \x07", "forbids", (2, 4)),
        ("[" * 5000, "nests deeper", (1, 34)),
        ("{" * 5000, "nests deeper", (1, 34)),
    ],
)
def test_reading_stops_at_what_is_no_configuration(text, message, place):
    """Syntax errors and bombs name their place; deep nesting costs nothing."""
    with pytest.raises(SourceError, match=message) as stopped:
        read(text)
    assert (stopped.value.line, stopped.value.col) == place


def test_alias_bomb_runs_out_of_budget():
    """An alias costs what it expands to, so ten levels of ten never come to be."""
    lines = ["a: &a [x,x,x,x,x,x,x,x,x,x]"]
    for one, other in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{other}: &{other} [{','.join([f'*{one}'] * 10)}]")
    with pytest.raises(SourceError, match="more than"):
        read("\n".join(lines))


def test_alias_repeats_its_anchor():
    """An honest anchor saves typing."""
    assert value("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}
