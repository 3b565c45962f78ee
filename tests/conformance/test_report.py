"""The page that is published says what is true."""

from tests.conformance import report
from tests.conformance.rows import Row
from tests.vectors import vectors_dir


def test_published_page_has_the_figures_of_tokens_keys_and_json():
    """Zero and zero, for as many inputs as there are."""
    missing = []
    rows = list(report.token_and_key_rows(vectors_dir(), missing))
    assert missing == []
    assert {(row.wrongly_accepted, row.wrongly_refused) for row in rows} == {(0, 0)}
    # Written anew by: make conformance
    assert report.tokens_part(rows) in report.PAGE.read_text("utf-8")


def test_published_page_names_every_source_and_its_commit():
    """Whoever doubts a figure can look at the very same inputs."""
    assert report.PAGE.read_text("utf-8").endswith(report.origins())


def test_table_has_a_line_for_each_set():
    """Wrong ones are named in the last column."""
    text = report.table([Row("one", 12, 1, 0, "x-1"), Row("two", 3, 0, 0, "")])
    assert text.splitlines()[2:] == [
        "| one | 12 | 1 | 0 | x-1 |",
        "| two | 3 | 0 | 0 |  |",
    ]


def test_set_that_is_not_there_is_left_out_and_named(tmp_path):
    """A folder that was fetched holds some of the sets only."""
    missing = []
    assert list(report.token_and_key_rows(tmp_path, missing)) == []
    assert "Wycheproof JWK" in missing
