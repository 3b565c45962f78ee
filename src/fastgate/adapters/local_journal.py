"""Local journal: what this node published, in SQLite.

Owns:      `journal.sqlite3` in the state directory: one connection, in one thread.
Called by: control.journal and adapters.local_bus, through ports.Journal.
Source:    REVOCATION.md sections 3 and 5: committed in groups off the loop; a lost,
           restored or cloned journal never continues an old publisher id.

The file holds hashes only. WAL with synchronous=FULL: a commit that returned survives
the loss of power. Every statement runs in the one thread, so nothing is locked.
"""

import asyncio
import fcntl
import os
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from fastgate.domain.event import Event, decode_event, encode_event
from fastgate.domain.stream import JournalStart, Kept
from fastgate.errors import ControlError, StartError

__all__ = ["LocalJournal"]

_T = TypeVar("_T")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    publisher TEXT NOT NULL, seq INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE, expires INTEGER NOT NULL,
    position INTEGER NOT NULL DEFAULT 0, event BLOB NOT NULL, UNIQUE (publisher, seq));
CREATE INDEX IF NOT EXISTS unpublished ON events (row) WHERE position = 0;
CREATE INDEX IF NOT EXISTS by_expiry ON events (expires);
CREATE TABLE IF NOT EXISTS hand (
    id TEXT NOT NULL, home TEXT NOT NULL, PRIMARY KEY (id, home)) WITHOUT ROWID;
"""
_COLUMNS = "row, publisher, position, seq, event"
_PAGE = 4_096
# Reason: a second of the busiest day; past it the disk is the bottleneck.
_MAX_WAITING = 20_000
_MAX_GROUP = 1_024


class LocalJournal:
    """The journal of one node.

    state_dir: Folder of this node alone; made where absent, mode 0700.
    node: Node name; a journal that was another node's gets a new publisher id.
    only_copy: No stream has its events: an unreadable one is not set aside, since
        the next start would then call a node complete that has forgotten them all.
    """

    def __init__(self, state_dir: Path, node: str, *, only_copy: bool = False) -> None:
        self._folder = state_dir
        self._only_copy = only_copy
        self._node = node
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._closed = False
        self._db: sqlite3.Connection | None = None
        self._lock = -1
        self._publisher = ""
        self._last = 0
        self._saved = 0
        self._adopted: tuple[str, ...] = ()
        self._waiting: list[tuple[Event, asyncio.Future[Kept]]] = []
        self._flushing: asyncio.Task[None] | None = None

    @property
    def publisher(self) -> str:
        """The random id made together with the journal: `<node>.<random>`."""
        return self._publisher

    @property
    def last(self) -> int:
        """The highest number given under `publisher`."""
        return self._last

    @property
    def saved(self) -> int:
        """The serial number of the newest saved state, 0 for none."""
        return self._saved

    @property
    def adopted(self) -> Sequence[str]:
        """Regions that were adopted by this node."""
        return self._adopted

    async def note_adopted(self, regions: Sequence[str]) -> None:
        """Remember the regions that were adopted."""
        statement = "INSERT OR REPLACE INTO meta VALUES ('adopted', ?)"
        await self._write(statement, [(" ".join(regions),)])
        self._adopted = tuple(regions)

    async def note_saved(self, serial: int) -> None:
        """Note that a state was saved: an older one is not taken any more."""
        statement = "INSERT OR REPLACE INTO meta VALUES ('saved', ?)"
        await self._write(statement, [(str(serial),)])
        self._saved = serial

    async def open(self) -> JournalStart:
        """Open or make it.

        Returns REPLACED where an unreadable file was set aside. Raises StartError where
        another process holds the folder, it cannot be written, or an unreadable file is
        the only copy.
        """
        return await self._run(self._open)

    async def close(self) -> None:
        """Finish what was asked and close; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._flushing is not None:
            await self._flushing
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def append(self, event: Event) -> Kept:
        """Number an event and commit it; returns once it is on the disk.

        An id that the journal has is returned as it was kept first. Raises ControlError
        where it could not be committed: then nothing was numbered.
        """
        if self._closed:
            raise ControlError("the journal is closed")
        if len(self._waiting) >= _MAX_WAITING:
            raise ControlError("the journal is behind")
        kept: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, kept))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name="journal-flush")
        return await kept

    async def _flush(self) -> None:
        # Whatever arrives while one commit runs goes into the next: one fsync for all.
        while self._waiting:
            group = self._waiting[:_MAX_GROUP]
            del self._waiting[:_MAX_GROUP]
            work = partial(self._append, [event for event, _ in group])
            try:
                rows = await self._run(work)
            except ControlError as error:
                for _, future in group:
                    if not future.done():
                        future.set_exception(ControlError(str(error)))
                continue
            for (_, future), kept in zip(group, rows, strict=True):
                if not future.done():
                    future.set_result(kept)

    async def published(self, rows: Sequence[int], position: int) -> None:
        """Note that the stream has these rows; never takes an older position back."""
        await self._write(
            "UPDATE events SET position = max(position, ?) WHERE row = ?",
            [(position, row) for row in rows],
        )

    async def handed(self, id_: str, home: str) -> None:
        """Note that a home has an event."""
        await self._write("DELETE FROM hand WHERE id = ? AND home = ?", [(id_, home)])

    async def unhanded(self) -> list[Event]:
        """Return events that homes have yet to take; `hand` names those homes."""
        return await self._run(self._unhanded)

    async def read(self, after_row: int, *, unpublished: bool = False) -> list[Kept]:
        """Return the next 4,096 events at most after `after_row`, in order."""
        return await self._run(lambda: self._read(after_row, unpublished))

    async def lowest(self, at_least: int, wall_s: int) -> int:
        """Return the lowest position, of `at_least`, of a live event; 0 for none."""
        return await self._run(lambda: self._lowest(at_least, wall_s))

    async def renew(self) -> str:
        """Take a new publisher id and number what is unpublished from 1 under it."""
        return await self._run(self._renew)

    async def prune(self, before_s: int) -> None:
        """Drop published events that expired before a wall time; proves writing.

        The commit happens also where nothing is dropped, so a full disk shows.
        """
        await self._run(lambda: self._prune(before_s))

    # What follows runs in the journal's thread.

    async def _run(self, work: Callable[[], _T]) -> _T:
        try:
            running: Awaitable[_T] = asyncio.get_running_loop().run_in_executor(
                self._thread, work
            )
        except RuntimeError as exc:  # the thread is gone: closed
            raise ControlError("the journal is closed") from exc
        try:
            return await running
        except sqlite3.Error as exc:
            raise ControlError(f"the journal failed: {type(exc).__name__}") from exc

    async def _write(self, statement: str, rows: list[tuple[object, ...]]) -> None:
        def work() -> None:
            with self._open_db() as db:
                db.executemany(statement, rows)

        await self._run(work)

    def _open_db(self) -> sqlite3.Connection:
        if self._db is None:
            raise ControlError("the journal is closed")
        return self._db

    def _open(self) -> JournalStart:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
        except OSError as exc:
            raise StartError(f"state_dir {self._folder}: {exc.strerror}") from exc
        path = self._folder / "journal.sqlite3"
        start = JournalStart.KEPT if path.exists() else JournalStart.NEW
        try:
            self._attach(path)
        except sqlite3.DatabaseError as exc:
            if isinstance(exc, sqlite3.OperationalError):
                raise StartError(f"the journal {path} cannot be opened: {exc}") from exc
            if self._only_copy:
                raise StartError(
                    f"the journal {path} is damaged, and nothing else has its "
                    "revocations: bring back a copy, or move it away to forget them"
                ) from exc
            self._set_aside(path)
            self._attach(path)
            start = JournalStart.REPLACED
        return start

    def _hold(self) -> None:
        self._lock = os.open(
            self._folder / "journal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise StartError(
                f"state_dir {self._folder} is in use: give each gateway its own"
            ) from exc

    def _attach(self, path: Path) -> None:
        # Made with the right mode before SQLite would make it with the umask's.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, timeout=2.0)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.executescript(_SCHEMA)
            meta = dict(db.execute("SELECT name, value FROM meta"))
            # Reads every page header that a start needs; a torn file shows here.
            db.execute("SELECT count(*), max(seq) FROM events").fetchone()
        except sqlite3.DatabaseError:
            db.close()
            raise
        self._db = db
        self._saved = int(meta.get("saved", 0))
        self._adopted = tuple(meta.get("adopted", "").split())
        if meta.get("node") == self._node and meta.get("publisher"):
            self._publisher, self._last = meta["publisher"], int(meta["last"])
        else:
            self._renew()

    def _set_aside(self, path: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                file.rename(
                    file.with_name(f"{file.name}.unreadable-{secrets.token_hex(4)}")
                )

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _append(self, events: list[Event]) -> list[Kept]:
        db = self._open_db()
        last = self._last
        kept: list[Kept] = []
        with db:
            for event in events:
                found = db.execute(
                    f"SELECT {_COLUMNS} FROM events WHERE id = ?",  # noqa: S608  # constant
                    (event.id,),
                ).fetchone()
                if found is not None:
                    kept.append(_kept(found))
                    continue
                last += 1
                numbered = replace(event, seq=last)
                row = db.execute(
                    "INSERT INTO events (publisher, seq, id, expires, event)"
                    " VALUES (?, ?, ?, ?, ?)",
                    (
                        self._publisher,
                        last,
                        event.id,
                        event.expires,
                        encode_event(numbered),
                    ),
                ).lastrowid
                homes = [(event.id, home) for home in event.hand]
                db.executemany("INSERT OR IGNORE INTO hand VALUES (?, ?)", homes)
                kept.append(Kept(row or 0, self._publisher, 0, numbered))
            db.execute("UPDATE meta SET value = ? WHERE name = 'last'", (str(last),))
        self._last = last
        return kept

    def _read(self, after_row: int, unpublished: bool) -> list[Kept]:
        only = "AND position = 0 " if unpublished else ""
        rows = self._open_db().execute(
            f"SELECT {_COLUMNS} FROM events WHERE row > ? {only}"  # noqa: S608  # constants
            "ORDER BY row LIMIT ?",
            (after_row, _PAGE),
        )
        return [_kept(row) for row in rows]

    def _lowest(self, at_least: int, wall_s: int) -> int:
        row = self._open_db().execute(
            "SELECT min(position) FROM events"
            " WHERE position > 0 AND position >= ? AND expires > ?",
            (at_least, wall_s),
        )
        return row.fetchone()[0] or 0

    def _unhanded(self) -> list[Event]:
        homes: dict[str, tuple[Event, list[str]]] = {}
        for id_, home, raw in self._open_db().execute(
            "SELECT hand.id, home, event FROM hand JOIN events ON events.id = hand.id"
            " ORDER BY row"
        ):
            homes.setdefault(id_, (decode_event(raw, None), []))[1].append(home)
        return [replace(event, hand=tuple(names)) for event, names in homes.values()]

    def _renew(self) -> str:
        db = self._open_db()
        publisher = f"{self._node}.{secrets.token_hex(8)}"
        with db:
            waiting = self._read_unpublished(db)
            for seq, kept in enumerate(waiting, 1):
                event = replace(kept.event, seq=seq)
                db.execute(
                    "UPDATE events SET publisher = ?, seq = ?, event = ? WHERE row = ?",
                    (publisher, seq, encode_event(event), kept.row),
                )
            db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)",
                [
                    ("publisher", publisher),
                    ("node", self._node),
                    ("last", str(len(waiting))),
                ],
            )
        self._publisher, self._last = publisher, len(waiting)
        return publisher

    @staticmethod
    def _read_unpublished(db: sqlite3.Connection) -> list[Kept]:
        rows = db.execute(
            f"SELECT {_COLUMNS} FROM events WHERE position = 0 ORDER BY row"  # noqa: S608  # constant
        )
        return [_kept(row) for row in rows]

    def _prune(self, before_s: int) -> None:
        db = self._open_db()
        with db:
            db.execute(
                "DELETE FROM events WHERE expires < ? AND position > 0", (before_s,)
            )
            db.execute("DELETE FROM hand WHERE id NOT IN (SELECT id FROM events)")
            db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('pruned', ?)", (str(before_s),)
            )


def _kept(row: tuple[int, str, int, int, bytes]) -> Kept:
    return Kept(row[0], row[1], row[2], replace(decode_event(row[4], None), seq=row[3]))
