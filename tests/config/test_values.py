"""Units and secrets as an operator writes them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fastgate.config.values import (
    REVEAL,
    ByteSize,
    Count,
    Duration,
    Flag,
    Given,
    Secret,
    Share,
    Text,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("5m", 300), ("250ms", 0.25), ("1h30m", 5400), ("2d", 172800)],
)
def test_duration_reads_units(text, seconds):
    """A duration is a number with its unit, largest unit first."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10 s",
        "1.5s",
        "-1s",
        "30m1h",
        "5s5s",
        "\u0661s",
        "1e3s",
        "9999999d",
    ],
)
def test_duration_refuses_what_has_another_reading(text):
    """No bare number, sign, fraction, foreign digit, repeated or reordered unit."""
    with pytest.raises(ValueError, match=r"duration|long"):
        parse_duration(text)


@given(st.integers(0, 10**12))
def test_duration_survives_writing_and_reading(millis):
    """What is written is read back as the same time."""
    value = timedelta(milliseconds=millis)
    assert parse_duration(format_duration(value)) == value


@given(st.integers(0, 10**12 - 1))
def test_size_survives_writing_and_reading(count):
    """What is written is read back as the same number of bytes."""
    assert parse_size(format_size(count)) == count


@pytest.mark.parametrize("text", ["", "64", "64KB", "64 KiB", "-1B", "1.5MiB", "64kib"])
def test_size_refuses_what_is_no_binary_unit(text):
    """KB could mean 1000 or 1024; only the units with one meaning count."""
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Count, "4"),
        (Count, True),
        (Count, 4.0),
        (Flag, "yes"),
        (Flag, 1),
        (Flag, "true"),
        (Duration, 10),
        (ByteSize, 65536),
        (Text, 5),
        (Text, ""),
        (Text, "a\nb"),
        (Share, 1.5),
        (Share, "0.5"),
    ],
)
def test_value_refuses_another_type_than_written(kind, value):
    """A file says what it means: nothing is converted on the way."""
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count, "4", 4),
        (Flag, "true", True),
        (Flag, "false", False),
        (Share, "0.5", 0.5),
    ],
)
def test_value_takes_text_of_the_environment(kind, text, value):
    """Variables are always text, so a number or flag may be spelled there."""
    assert TypeAdapter(kind).validate_python(Given(text)) == value


def test_secret_stays_out_of_every_representation():
    """Only `reveal` and the private document hold the value."""
    adapter = TypeAdapter(Secret)
    secret = adapter.validate_python("hunter2-hunter2")
    shown = f"{secret} {secret!r} {adapter.dump_json(secret)!r} {[secret]}"
    assert "hunter2" not in shown
    assert secret.reveal() == "hunter2-hunter2"
    assert adapter.dump_json(secret, context=REVEAL) == b'"hunter2-hunter2"'


@pytest.mark.parametrize("value", ["", "a" * 5000, "line\nend", 5, None, ["x"]])
def test_secret_refuses_bad_value_without_repeating_it(value):
    """An error text is printed and logged, so it never holds the value."""
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Secret).validate_python(value)
    text = refused.value.errors(include_input=False)[0]["msg"]
    assert "aaaa" not in text
    assert "line\n" not in text


def test_secret_compares_by_value():
    """Two configurations with one secret are equal."""
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a")}) == 1
