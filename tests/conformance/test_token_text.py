"""Tokens and signatures of third parties at the token scanner."""

import pytest
from tests.conformance import token_sets
from tests.vectors import vectors_dir

TRIED = {
    "ES256 tokens": 6 + 4 * 63,
    "Wycheproof P-256 raw signatures": 262,
    "NIST ACVP P-256 signatures": 7,
    "Wycheproof JWK messages as tokens": 26,
    "joserfc messages as tokens": None,
    "RFC 7520 cookbook as tokens": None,
}


@pytest.mark.parametrize("name", TRIED)
def test_tokens_of_others_are_judged_as_their_label_says(name):
    """Nothing wrongly accepted, nothing wrongly refused, and no case lost."""
    folder = vectors_dir()
    assert token_sets.wrong(name, folder) == []
    tried = len(list(token_sets.SETS[name][0](folder)))
    assert tried == (TRIED[name] or tried) > 0


def test_conformance_rows_count_every_set():
    """The table that is published comes from the same cases."""
    vectors_dir()
    rows = token_sets.rows()
    assert [row.set for row in rows] == list(token_sets.SETS)
    assert {(row.wrongly_accepted, row.wrongly_refused) for row in rows} == {(0, 0)}
