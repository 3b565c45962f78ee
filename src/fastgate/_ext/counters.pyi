from typing import final

from typing_extensions import Buffer

def size(rows: int, columns: int) -> int:
    """Return the bytes a table takes: 1 to 4096 rows of 1 to 2 ** 20 columns.

    Raises ValueError outside that range.
    """

@final
class CounterRow:
    """The numbers of one worker slot, or of the agent; one process writes a row.

    buffer: Writable, aligned to 8 bytes, holding a table that CounterTable began.
    row: Which row. columns: How many of its columns this writer uses.
    layout: Names what the columns mean. A row of another layout is set to zero first;
        one of the same layout goes on where its last writer stopped.
    Raises ValueError for a buffer without a table or a row or column outside it.

    Threads of one process may share a row: each call holds the interpreter's lock.
    """

    def __new__(
        cls, buffer: Buffer, row: int, columns: int, layout: int = 0
    ) -> CounterRow: ...
    def add(self, column: int, n: int = 1) -> None:
        """Add to a column; `n` may be negative in a gauge.

        A column outside the row changes nothing but the count of `overflow`.
        """
    def get(self, column: int) -> int:
        """Return a column; 0 outside the row."""
    def set(self, column: int, value: int) -> None:
        """Set a gauge, 0 to 2 ** 64 - 1; a column outside the row as in `add`."""
    def overflow(self) -> int:
        """Return how many calls named a column outside the row."""
    def column(self, column: int) -> Column:
        """Return one column, to be added to without its number."""
    def histogram(self, first_column: int, bounds_ns: tuple[int, ...]) -> Histogram:
        """Return a histogram in this row; raises as it does."""
    def served(
        self,
        columns: tuple[int, ...],
        in_flight: int,
        duration: Histogram,
        overhead: Histogram,
        upstream: Histogram,
    ) -> Served:
        """Return what one kind of request adds to this row; raises as it does."""

@final
class Column:
    """One column of a row."""

    def __new__(cls, row: CounterRow, column: int) -> Column: ...
    def add(self, n: int = 1) -> None:
        """Add, as the row's `add` does."""

@final
class Histogram:
    """Times in buckets, in the columns of a row from `first_column` on.

    bounds_ns: 1 to 32 rising upper bounds, inclusive. They are followed by the bucket
        of all longer times and the sum, so a histogram has len(bounds_ns) + 2 columns.
    Raises ValueError for other bounds or where the columns do not fit into the row.
    """

    def __new__(
        cls, row: CounterRow, first_column: int, bounds_ns: tuple[int, ...]
    ) -> Histogram: ...
    def observe(self, ns: int) -> None:
        """Count a time in nanoseconds; a negative one (a clock stepped) counts as 0."""

@final
class Served:
    """What every request of one kind adds when it went well, all at once.

    columns: Up to 8, each counted by one. in_flight: The gauge to take one from.
    duration, overhead, upstream: Histograms of the same row.
    Raises ValueError for more columns.
    """

    def __new__(
        cls,
        row: CounterRow,
        columns: tuple[int, ...],
        in_flight: int,
        duration: Histogram,
        overhead: Histogram,
        upstream: Histogram,
    ) -> Served: ...
    def count(
        self,
        started_ns: int,
        sent_ns: int,
        heard_ns: int,
        begun_ns: int,
        finished_ns: int,
    ) -> None:
        """Count one, by when its parts were reached; nanoseconds of one clock.

        Its head was read, left for the upstream, was answered, the answer's left for
        the client, and all of it was over.
        """

@final
class CounterTable:
    """All rows of a block of memory, for the process that reads them.

    buffer: Aligned to 8 bytes. Where it is still zero it must be writable and is begun
        here; a table once begun may be read through a read-only buffer.
    layout: Rows of another layout are not counted.
    Raises ValueError for a buffer that is too small or holds a table of another shape.
    """

    def __new__(
        cls, buffer: Buffer, rows: int, columns: int, layout: int = 0
    ) -> CounterTable: ...
    def total(self, column: int) -> int:
        """Return the sum of a column over all rows, modulo 2 ** 64; 0 outside."""
    def value(self, row: int, column: int) -> int:
        """Return one cell; 0 outside the table or in a row of another layout."""
    def totals(self, first: int = 0, last: int = -1) -> list[int]:
        """Return the sums of the columns in [first, last); -1: up to the end."""
    def nonzero(self, first: int, last: int) -> list[tuple[int, int]]:
        """Return column and sum of those columns in [first, last) that are not 0."""
    def overflow(self) -> int:
        """Return how many calls named a column outside their row, in all rows."""
