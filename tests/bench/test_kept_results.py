"""Kept results: found again on a machine like the one they were measured on."""

import json

import pytest

from fastgate.errors import ConfigError
from fastgate_bench.budget import NO_BUDGETS
from fastgate_bench.figures import Measured, Stage
from fastgate_bench.machine import conditions, fingerprint
from fastgate_bench.results import earlier, folder_of
from fastgate_bench.suite import Result

MACHINE = conditions()


def result(value, machine=MACHINE):
    """A run with one figure."""
    measured = Measured([Stage("seen", "us", {"p50": value})])
    figures = NO_BUDGETS.judge(measured)
    return Result("decision", figures, measured, machine, "abc", "")


def test_kept_run_is_found_by_a_machine_like_its_own(tmp_path):
    """The last one counts, and a newer library or load makes no other machine."""
    result(2.5).keep(tmp_path)
    result(3.5).keep(tmp_path)
    like = MACHINE | {"load_average": [9.0], "packages": {}, "fastgate": "9"}
    assert earlier(tmp_path, like, "decision") == {"seen p50": 3.5}
    assert earlier(tmp_path, like, "relay") == {}
    assert (folder_of(tmp_path, MACHINE) / "decision.html").exists()


@pytest.mark.parametrize(
    "changes",
    [{"cpu": "other"}, {"cores": 1_000}, {"kernel": "1.0.0"}, {"python": "3.99.0"}],
    ids=lambda changes: next(iter(changes)),
)
def test_run_of_another_machine_is_not_set_beside_it(tmp_path, changes):
    """Figures of two machines do not compare."""
    result(2.5).keep(tmp_path)
    assert earlier(tmp_path, MACHINE | changes, "decision") == {}
    assert fingerprint(MACHINE | changes) != fingerprint(MACHINE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"figures": [{"metric": 1}]}'])
def test_kept_file_that_is_no_result_is_an_error(tmp_path, text):
    """Nothing is measured for minutes to fail at the end."""
    folder = folder_of(tmp_path, MACHINE)
    folder.mkdir()
    (folder / "decision.json").write_text(text, "ascii")
    with pytest.raises(ConfigError, match="is no result of a bench"):
        earlier(tmp_path, MACHINE, "decision")


def test_document_has_what_was_before_only_where_there_was_something():
    """The form of a result without a kept one is that of the contract."""
    (figure,) = result(2.5).figures
    assert figure.document().keys() == {"metric", "value", "unit", "budget", "ok"}
    assert json.loads(json.dumps(figure.document()))["budget"] is None
