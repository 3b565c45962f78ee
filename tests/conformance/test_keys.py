"""Keys and signatures of third parties at the keyring and the key objects."""

import pytest
from tests.conformance import key_sets
from tests.vectors import vectors_dir

TRIED = {
    "Wycheproof JWK": 26,
    "Wycheproof P-256 under key objects": 262,
    "joserfc keys": None,
    "PyJWT keys": None,
    "RFC 7520 keys": None,
    "RFC 7520 signatures": None,
    "joserfc signatures": None,
}


@pytest.mark.parametrize("name", TRIED)
def test_keys_of_others_are_judged_as_their_label_says(name):
    """Nothing wrongly accepted, nothing wrongly refused, and no case lost."""
    folder = vectors_dir()
    assert key_sets.wrong(name, folder) == []
    cases = list(key_sets.SETS[name][0](folder))
    assert len(cases) == (TRIED[name] or len(cases)) > 0
    assert any(case.accept for case in cases)
    assert any(not case.accept for case in cases)


def test_conformance_rows_count_every_key_set():
    """The table that is published comes from the same cases."""
    vectors_dir()
    rows = key_sets.rows()
    assert [row.set for row in rows] == list(key_sets.SETS)
    assert {(row.wrongly_accepted, row.wrongly_refused) for row in rows} == {(0, 0)}
