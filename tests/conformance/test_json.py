"""JSON of third parties, as header, as claims and inside a claim."""

import pytest
from tests.conformance import token_sets
from tests.vectors import vectors_dir


@pytest.mark.parametrize(
    "name", [name for name in token_sets.SETS if "JSON" in name or "Naughty" in name]
)
def test_json_of_others_is_judged_as_its_label_says(name):
    """Nothing illegal is accepted, nothing legal refused but what RFC 7515 refuses."""
    assert token_sets.wrong(name, vectors_dir()) == []


def test_json_suite_is_whole():
    """A folder that lost its files must not pass."""
    names = [name for name, _ in token_sets.documents(vectors_dir())]
    assert sum(name.startswith("y_") for name in names) == 95
    assert sum(name.startswith("n_") for name in names) == 188
    assert len(names) == 283
