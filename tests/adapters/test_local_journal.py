"""The journal in SQLite: durable, numbered, grouped, never continued by a copy."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from fastgate.adapters.local_journal import LocalJournal
from fastgate.domain.event import Event, key_id
from fastgate.domain.revocation import Kind
from fastgate.domain.stream import JournalStart, Kept
from fastgate.errors import ControlError, StartError


def event(name: str, **changes: object) -> Event:
    made = Event(
        id=name,
        origin="eu",
        at=1_700_000_000.0,
        kind=Kind.SID,
        key=bytes(16),
        expires=1_700_003_600,
        key_id=key_id(b""),
    )
    return replace(made, **changes)


async def everything(journal: LocalJournal, **how: bool) -> list[Kept]:
    rows, after = [], 0
    while page := await journal.read(after, **how):
        rows += page
        after = page[-1].row
    return rows


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncGenerator[LocalJournal, None]:
    made = LocalJournal(tmp_path / "state", "gw")
    assert await made.open() is JournalStart.NEW
    yield made
    await made.close()


async def reopened(journal: LocalJournal, node: str = "gw") -> LocalJournal:
    await journal.close()
    again = LocalJournal(journal._folder, node)
    assert await again.open() is JournalStart.KEPT
    return again


async def test_numbers_are_contiguous_from_one_when_entered_together(journal):
    """Whatever comes in at once is numbered without a hole, in order."""
    kept = await asyncio.gather(*(journal.append(event(f"e{i}")) for i in range(500)))
    assert [one.event.seq for one in kept] == list(range(1, 501))
    assert [one.event.id for one in kept] == [f"e{i}" for i in range(500)]
    assert journal.last == 500
    assert await everything(journal) == list(kept)


async def test_commits_are_grouped_when_entries_wait(journal, monkeypatch):
    """One fsync serves all that arrived during the last one."""
    groups: list[int] = []
    append = journal._append

    def counted(events: list[Event]) -> list[Kept]:
        groups.append(len(events))
        return append(events)

    monkeypatch.setattr(journal, "_append", counted)
    await asyncio.gather(*(journal.append(event(f"e{i}")) for i in range(300)))
    assert sum(groups) == 300
    assert len(groups) < 30


async def test_event_is_kept_once_when_its_id_comes_again(journal):
    """A retried hand-over gets the number it was given first."""
    first = await journal.append(event("e"))
    assert await journal.append(event("e", reason="other")) == first
    assert journal.last == 1


async def test_everything_is_there_after_a_restart(journal):
    """Publisher id, numbers, positions and deliveries survive."""
    kept = await journal.append(event("a", hand=("us", "ap")))
    await journal.append(event("b"))
    await journal.published([kept.row], 77)
    await journal.handed("a", "us")
    again = await reopened(journal)
    try:
        assert (again.publisher, again.last) == (journal.publisher, 2)
        rows = await everything(again)
        assert [(r.event.id, r.position) for r in rows] == [("a", 77), ("b", 0)]
        assert [r.event.id for r in await everything(again, unpublished=True)] == ["b"]
        assert [(e.id, e.hand) for e in await again.unhanded()] == [("a", ("ap",))]
    finally:
        await again.close()


async def test_journal_is_complete_when_the_process_died_after_a_commit(journal):
    """A copy of the files, taken without closing, has every answered event."""
    for i in range(20):
        await journal.append(event(f"e{i}"))
    copy = journal._folder.with_name("copy")
    shutil.copytree(journal._folder, copy)
    other = LocalJournal(copy, "gw")
    await other.open()
    assert len(await everything(other)) == 20
    await other.close()


async def test_publisher_id_is_new_when_another_node_opens_the_journal(journal):
    """A clone on another node never continues an old id."""
    await journal.append(event("a"))
    again = await reopened(journal, node="gw-2")
    try:
        assert again.publisher.startswith("gw-2.")
        assert again.publisher != journal.publisher
    finally:
        await again.close()


async def test_unpublished_events_are_numbered_anew_when_the_id_is_renewed(journal):
    """What the stream has stays under the old id; the rest starts at 1."""
    first = await journal.append(event("a"))
    await journal.append(event("b"))
    await journal.append(event("c"))
    await journal.published([first.row], 5)
    old = journal.publisher
    new = await journal.renew()
    assert new == journal.publisher != old
    rows = await everything(journal)
    assert [(r.publisher, r.event.seq) for r in rows] == [(old, 1), (new, 1), (new, 2)]
    assert (await journal.append(event("d"))).event.seq == 3
    again = await reopened(journal)
    assert (again.publisher, again.last) == (new, 3)
    await again.close()


async def test_second_process_is_refused(journal):
    """Two agents on one folder would give one number twice."""
    other = LocalJournal(journal._folder, "gw")
    with pytest.raises(StartError, match="in use"):
        await other.open()
    await other.close()


async def test_folder_that_cannot_be_made_is_a_start_error(tmp_path):
    """The operator reads which folder it is."""
    (tmp_path / "file").write_text("")
    journal = LocalJournal(tmp_path / "file" / "state", "gw")
    with pytest.raises(StartError, match="state"):
        await journal.open()
    await journal.close()


@pytest.mark.parametrize(
    "garbage", [b"not a database" * 400, b"SQLite format 3\0" * 99]
)
async def test_unreadable_journal_is_set_aside(tmp_path, garbage):
    """A new id, an alarm, and the old file for whoever wants to look."""
    (tmp_path / "journal.sqlite3").write_bytes(garbage)
    journal = LocalJournal(tmp_path, "gw")
    assert await journal.open() is JournalStart.REPLACED
    assert (await journal.append(event("a"))).event.seq == 1
    await journal.close()
    aside = list(tmp_path.glob("journal.sqlite3.unreadable-*"))
    assert [path.read_bytes() for path in aside] == [garbage]


async def test_unreadable_journal_stays_and_is_a_start_error_when_it_is_the_only_copy(
    tmp_path,
):
    """With `local`, starting without it would let every revoked token pass."""
    path = tmp_path / "journal.sqlite3"
    path.write_bytes(b"no database at all" * 300)
    for _ in range(2):
        journal = LocalJournal(tmp_path, "gw", only_copy=True)
        with pytest.raises(StartError, match="nothing else has"):
            await journal.open()
        await journal.close()
    assert path.read_bytes() == b"no database at all" * 300


async def test_append_fails_and_numbers_nothing_when_the_disk_is_full(journal):
    """F13: a number is given only to what was committed."""
    await journal.append(event("a"))
    await journal._run(lambda: journal._db.execute("PRAGMA max_page_count = 1"))

    async def fill() -> None:
        for i in range(200):
            await journal.append(event(f"big{i}", reason="r" * 128))

    with pytest.raises(ControlError):
        await fill()
    last = journal.last
    await journal._run(lambda: journal._db.execute("PRAGMA max_page_count = 100000"))
    assert (await journal.append(event("b"))).event.seq == last + 1
    seqs = [row.event.seq for row in await everything(journal)]
    assert seqs == list(range(1, last + 2))


async def test_prune_drops_what_expired_and_was_published(journal):
    """Pending events stay, whatever their age."""
    old = await journal.append(event("old", expires=10))
    await journal.append(event("pending", expires=10))
    await journal.append(event("new"))
    await journal.published([old.row], 1)
    await journal.prune(100)
    assert [r.event.id for r in await everything(journal)] == ["pending", "new"]
    assert (await journal.append(event("next"))).event.seq == 4


async def test_lowest_position_is_that_of_a_live_published_event(journal):
    """Expired ones may be gone from the stream, and pending ones are not there yet."""
    assert await journal.lowest(0, 100) == 0
    kept = [
        await journal.append(event(f"e-{at}", expires=expires))
        for at, expires in enumerate((10, 1_000, 1_000, 1_000))
    ]
    for one, position in zip(kept[:3], (4, 9, 7), strict=True):
        await journal.published([one.row], position)
    assert await journal.lowest(0, 100) == 7
    assert await journal.lowest(8, 100) == 9
    assert await journal.lowest(0, 1) == 4
    assert await journal.lowest(10, 1) == 0


async def test_commits_survive_the_loss_of_power(journal):
    """WAL with synchronous FULL: the commit that returned is on the disk."""

    def pragmas() -> tuple[object, ...]:
        db = journal._db
        return (
            db.execute("PRAGMA journal_mode").fetchone()[0],
            db.execute("PRAGMA synchronous").fetchone()[0],
        )

    assert await journal._run(pragmas) == ("wal", 2)


async def test_no_plain_identifier_and_no_foreign_reader_in_the_state_folder(journal):
    """The file holds hashes, and only its owner reads it."""
    await journal.append(event("a"))
    path = journal._folder / "journal.sqlite3"
    assert path.stat().st_mode & 0o077 == 0
    assert journal._folder.stat().st_mode & 0o077 == 0
    names = sqlite3.connect(path)
    try:
        tables = {row[0] for row in names.execute("SELECT name FROM sqlite_master")}
        assert {"events", "hand", "meta"} <= tables
    finally:
        names.close()


async def test_closed_journal_refuses_everything(tmp_path):
    """After the end, an error, never a silence."""
    journal = LocalJournal(tmp_path, "gw")
    await journal.open()
    await journal.close()
    with pytest.raises(ControlError):
        await journal.append(event("a"))


async def test_what_was_saved_and_adopted_is_remembered(tmp_path):
    """A snapshot that is older than the last one is not taken after a restart."""
    journal = LocalJournal(tmp_path, "gw")
    await journal.open()
    assert (journal.saved, tuple(journal.adopted)) == (0, ())
    await journal.note_saved(7)
    await journal.note_adopted(["ap", "us"])
    await journal.close()
    again = LocalJournal(tmp_path, "gw")
    await again.open()
    assert (again.saved, tuple(again.adopted)) == (7, ("ap", "us"))
    await again.close()
