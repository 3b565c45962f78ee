"""`_ext/counters` alone: rows, restarts, layouts, histograms and damaged memory."""

import mmap
import os
import struct
import sys

import pytest

from fastgate._ext.counters import CounterRow, CounterTable, Histogram, size

ROWS, COLUMNS = 3, 20
WORD = struct.Struct("<Q")


@pytest.fixture
def memory():
    return bytearray(size(ROWS, COLUMNS))


def begin(memory, layout=0):
    return CounterTable(memory, ROWS, COLUMNS, layout)


def test_table_sums_a_column_over_all_rows(memory):
    """Each writer has its own row and the reader sees the sum at once."""
    table = begin(memory)
    rows = [CounterRow(memory, slot, COLUMNS) for slot in range(ROWS)]
    for slot, row in enumerate(rows):
        row.add(4, slot + 1)
        row.add(4)
    assert table.total(4) == 9
    assert [table.value(slot, 4) for slot in range(ROWS)] == [2, 3, 4]
    assert table.totals() == [0] * 4 + [9] + [0] * 15
    assert table.totals(3, 6) == [0, 9, 0]
    assert table.nonzero(0, COLUMNS) == [(4, 9)]


def test_row_goes_on_where_its_predecessor_stopped(memory):
    """A restarted worker maps the same row and loses no count."""
    begin(memory)
    CounterRow(memory, 1, COLUMNS).add(0, 41)
    CounterRow(memory, 1, COLUMNS).add(0)
    assert begin(memory).total(0) == 42


def test_table_is_shared_between_processes_through_a_memfd():
    """What a forked process added is in the parent's table after it died."""
    descriptor = os.memfd_create("counters", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size(ROWS, COLUMNS))
    memory = mmap.mmap(descriptor, size(ROWS, COLUMNS))
    table = begin(memory)
    child = os.fork()
    if child == 0:
        CounterRow(memory, 2, COLUMNS).add(7, 5)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(descriptor)
    assert table.total(7) == 5


def test_row_of_another_layout_begins_at_zero_and_is_counted_under_it_only(memory):
    """After a reload that moves columns no number appears under a wrong name."""
    old = begin(memory, 11)
    CounterRow(memory, 0, COLUMNS, 11).add(3, 100)
    CounterRow(memory, 1, COLUMNS, 11).add(3, 10)
    fresh = CounterRow(memory, 0, 5, 22)
    fresh.add(3, 7)
    assert (old.total(3), begin(memory, 22).total(3)) == (10, 7)
    assert (old.value(0, 3), fresh.get(3)) == (0, 7)


@pytest.mark.parametrize("column", [-1, COLUMNS, COLUMNS + 1, 2**62, -(2**62)])
def test_add_outside_the_row_changes_nothing_but_the_overflow(memory, column):
    """A wrong column is counted and never written to a neighbour."""
    table = begin(memory)
    rows = [CounterRow(memory, slot, COLUMNS) for slot in range(ROWS)]
    rows[1].add(column, 9)
    rows[1].set(column, 9)
    assert table.nonzero(0, COLUMNS) == []
    assert [row.overflow() for row in rows] == [0, 2, 0]
    assert (table.overflow(), rows[1].get(column), table.total(column)) == (2, 0, 0)


def test_add_stops_at_the_columns_the_writer_uses(memory):
    """A column of the table that this plan does not use is outside as well."""
    begin(memory)
    row = CounterRow(memory, 0, 5)
    row.add(5)
    assert (row.overflow(), row.get(5)) == (1, 0)


def test_gauge_goes_down_and_is_set(memory):
    """In-flight counts fall again; a new worker clears what its predecessor left."""
    table = begin(memory)
    row = CounterRow(memory, 0, COLUMNS)
    row.add(1, 3)
    row.add(1, -2)
    assert table.total(1) == 1
    row.set(1, 0)
    assert table.total(1) == 0


@pytest.mark.parametrize(
    ("ns", "bucket"),
    [(-5, 0), (0, 0), (10, 0), (11, 1), (20, 1), (40, 2), (41, 3), (2**62, 3)],
)
def test_histogram_counts_each_time_in_its_bucket(memory, ns, bucket):
    """Bounds are inclusive, as Prometheus' `le`; a stepped clock counts as zero."""
    table = begin(memory)
    Histogram(CounterRow(memory, 0, COLUMNS), 6, (10, 20, 40)).observe(ns)
    expected = [0] * 4
    expected[bucket] = 1
    assert table.totals(6, 10) == expected
    assert table.total(10) == max(ns, 0)
    assert table.totals(0, 6) + table.totals(11) == [0] * (COLUMNS - 5)


@pytest.mark.parametrize(
    ("first", "bounds"),
    [
        (0, ()),
        (0, tuple(range(1, 34))),
        (0, (2, 1)),
        (0, (1, 1)),
        (0, (0, 1)),
        (-1, (1,)),
        (18, (1,)),
        (2**62, (1,)),
    ],
)
def test_histogram_refuses_bounds_or_columns_that_do_not_fit(memory, first, bounds):
    """A histogram that would write outside its row cannot be made."""
    begin(memory)
    row = CounterRow(memory, 0, COLUMNS)
    with pytest.raises(ValueError, match=r"histogram|bounds"):
        Histogram(row, first, bounds)


def test_row_refuses_memory_without_a_table(memory):
    """A worker never begins a table: the supervisor does, once."""
    with pytest.raises(ValueError, match="no counter table"):
        CounterRow(memory, 0, COLUMNS)


@pytest.mark.parametrize(
    ("row", "columns"), [(-1, 1), (ROWS, 1), (0, 0), (0, COLUMNS + 1), (0, -1)]
)
def test_row_refuses_a_place_outside_the_table(memory, row, columns):
    """The caller's numbers are checked before any pointer is made of them."""
    begin(memory)
    with pytest.raises(ValueError, match="outside the table"):
        CounterRow(memory, row, columns)


@pytest.mark.parametrize(
    ("word", "value"),
    [(0, 1), (1, 2), (2, ROWS + 1), (2, 2**63), (3, COLUMNS + 9), (3, 2**64 - 1)],
    ids=["magic", "version", "rows", "many rows", "columns", "many columns"],
)
def test_damaged_header_is_refused(memory, word, value):
    """Nothing read from shared memory leads outside the buffer."""
    begin(memory)
    WORD.pack_into(memory, word * 8, value)
    with pytest.raises(ValueError, match=r"table|small|range"):
        CounterRow(memory, 0, 1)
    with pytest.raises(ValueError, match=r"table|small|range"):
        begin(memory)


def test_damaged_row_header_clears_no_more_than_the_row(memory):
    """A used count beyond the row is clamped when the row is cleared."""
    table = begin(memory)
    CounterRow(memory, 0, COLUMNS).add(0, 5)
    CounterRow(memory, 1, COLUMNS).add(0, 5)
    WORD.pack_into(memory, 64 + 8, 2**64 - 1)
    CounterRow(memory, 0, COLUMNS, 9)
    assert table.total(0) == 5


@pytest.mark.parametrize("missing", [1, 8, 64, size(ROWS, COLUMNS)])
def test_short_buffer_is_refused(missing):
    """A buffer that cannot hold the table is refused before it is touched."""
    short = bytearray(size(ROWS, COLUMNS) - missing)
    with pytest.raises(ValueError, match="small"):
        begin(short)
    assert not any(short)


def test_unaligned_buffer_is_refused():
    """Atomic words need their alignment."""
    memory = memoryview(bytearray(size(ROWS, COLUMNS) + 8))[1:]
    with pytest.raises(ValueError, match="aligned"):
        begin(memory)


@pytest.mark.parametrize(
    "shape", [(0, 1), (1, 0), (4097, 1), (1, 2**20 + 1), (-1, -1), (2**62, 2**62)]
)
def test_size_refuses_a_shape_outside_its_range(shape):
    """The product cannot overflow."""
    with pytest.raises(ValueError, match="range"):
        size(*shape)


def test_rows_begin_on_cache_lines():
    """Two workers never write the same line."""
    assert all(size(rows, 3) % 64 == 0 for rows in range(1, 5))
    assert size(2, 9) - size(1, 9) == 64 + 128


def test_read_only_table_reads_and_cannot_begin(memory):
    """The reader may have a read-only map once the table exists."""
    with pytest.raises(ValueError, match="no counter table"):
        CounterTable(bytes(memory), ROWS, COLUMNS)
    begin(memory)
    CounterRow(memory, 0, COLUMNS).add(2, 3)
    assert CounterTable(bytes(memory), ROWS, COLUMNS).total(2) == 3
    with pytest.raises(BufferError):
        CounterRow(bytes(memory), 0, COLUMNS)


def test_table_of_another_shape_is_refused(memory):
    """Two processes that disagree about the shape do not share numbers."""
    begin(memory)
    with pytest.raises(ValueError, match="shape"):
        CounterTable(memory, ROWS, COLUMNS - 1)


def test_buffers_are_held_and_given_back(memory):
    """The memory cannot be resized under a row, and can once the row is gone."""
    begin(memory)
    before = sys.getrefcount(memory)
    row = CounterRow(memory, 0, COLUMNS)
    with pytest.raises(BufferError):
        memory.append(0)
    del row
    memory.append(0)
    for _ in range(100):
        with pytest.raises(ValueError, match="outside"):
            CounterRow(memory, ROWS, COLUMNS)
    memory.append(0)
    assert sys.getrefcount(memory) == before
