"""The page that is published says what is true."""

from tests.conformance import report
from tests.conformance.rows import LaneRow, Row
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


def test_table_of_both_lanes_has_columns_for_each():
    """What is wrong in one lane does not hide behind the other."""
    lines = report.lanes_table([LaneRow("one", 12, ((1, 0, 2), (0, 3, 0)), "x")])
    head, _, row, *_ = lines.splitlines()
    assert head.count("compiled") == head.count("general") == 3
    assert row == "| one | 12 | 1 | 0 | 2 | 0 | 3 | 0 | x |"


def test_published_page_has_nothing_wrong_about_requests():
    """Each set stands there with its zeros, for either lane."""
    part = report.PAGE.read_text("utf-8").split("\n## ")
    for title in ("Requests", "Strings"):
        (text,) = (text for text in part if text.startswith(title))
        rows = [line for line in text.splitlines() if line.startswith("| ")][1:]
        assert rows
        assert all(" | 0 | 0 | 0 | 0 | 0 | 0 | " in row for row in rows)


def test_set_that_is_not_there_is_left_out_and_named(tmp_path):
    """A folder that was fetched holds some of the sets only."""
    missing = []
    assert list(report.token_and_key_rows(tmp_path, missing)) == []
    assert "Wycheproof JWK" in missing
