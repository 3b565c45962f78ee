"""Log writer: access lines that never block a request, audit lines that are never lost.

Owns:      the ring of access lines not yet written and its one writer thread; the audit
           file.
Called by: the relay writes one access line a request; the agent appends an audit line
           before it answers a mutation. Both reopen on SIGUSR1.

Rules. domain.log_line says what a line may hold and how text is spelled. The peer's
address leaves this module only as a keyed hash.
"""

import contextlib
import errno
import hashlib
import os
import random
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from fastgate.domain.log_line import encode_access, encode_ascii
from fastgate.errors import BugError, ControlError, StartError

__all__ = ["AccessLog", "AuditLog"]

_FIRST_ERROR_STATUS = 400

# Reason: POSIX writes up to PIPE_BUF bytes to a pipe as a whole, so the lines of
# several workers on one standard output never mix.
_MAX_WRITE_BYTES = 4_096
# Reason: a fifth of a second of lines at 20,000 requests a second.
_RING_LINES = 4_096
# Reason: at most 50 wake-ups a second, however many lines.
_GATHER_S = 0.02
_POLL_MS = 100
_PEERS_REMEMBERED = 4_096
_AUDIT_RESERVED = frozenset({"ts", "msg", "actor", "action"})


class AccessLog:
    """One JSON line a request, written by a thread; drops and counts rather than wait.

    count_dropped: Called with a number of lines lost, from either thread.
    path: File to append to, reopened by `reopen`; None: `descriptor`.
    descriptor: Where lines go without a path; standard output.
    peer_key: 16 to 64 bytes, the same in all workers of a node.
    sample: Share of lines kept, 0 to 1; a status of 400 and above is always kept.
    ring_lines: Lines that may wait for the thread; of at most 4 KiB each.
    Raises StartError where the file cannot be opened.
    """

    def __init__(
        self,
        count_dropped: Callable[[int], object],
        *,
        peer_key: bytes,
        path: Path | None = None,
        descriptor: int = 1,
        sample: float = 1.0,
        ring_lines: int = _RING_LINES,
        wall_s: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        if not 16 <= len(peer_key) <= 64:  # noqa: PLR2004 - BLAKE2b's limit
            raise ValueError("a peer key has 16 to 64 bytes")
        self._count_dropped = count_dropped
        self._peer_key = peer_key
        self._peers: dict[str, str] = {}
        self._sample = sample
        self._chance = chance
        self._wall_s = wall_s
        self._second = -1
        self._stamp = ""
        self._path = path
        self._descriptor = descriptor
        if path is not None:
            try:
                self._descriptor = _open_access(path)
            except OSError as error:
                raise StartError(
                    f"access log {path}: {os.strerror(error.errno or 0)}"
                ) from error
        self._room = ring_lines
        self._ring: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._reopen_asked = False
        self._abandoned = False
        self._is_torn = False
        self._thread: threading.Thread | None = None

    def write(self, line: Mapping[str, object]) -> None:
        """Queue the line of one request; never blocks and never raises for its content.

        line: `peer` (the address as it is, hashed here), `status`, and any of
            domain.log_line.ACCESS_FIELDS; other names are left out. Numbers come
            rounded.
        """
        if self._is_wanted(line.get("status")):
            self._queue(self._encode(line))

    def form(self, fields: Mapping[str, object]) -> bytes:
        """Return what many lines share, spelled once for `write_formed`.

        fields: As `write` takes them, without the peer.
        """
        return encode_access(fields, _MAX_WRITE_BYTES // 2)[1:]

    def write_formed(self, form: bytes, peer: str, status: int, own: bytes) -> None:
        """Queue the line of one request, of which most was spelled before.

        form: Of `form`. peer: As in `write`. own: The members that are this line's
            alone, as JSON of printable ASCII with a comma behind it.
        """
        if self._is_wanted(status):
            self._queue(
                b'{"ts":"%b","msg":"access","peer":"%b",%b%b\n'
                % (self._now().encode(), self._hash_peer(peer).encode(), own, form)
            )

    def _is_wanted(self, status: object) -> bool:
        if self._sample < 1.0:
            is_error = not isinstance(status, int) or status >= _FIRST_ERROR_STATUS
            if not is_error and self._chance() >= self._sample:
                return False
        if len(self._ring) >= self._room:
            self._count_dropped(1)
            return False
        return True

    def _queue(self, line: bytes) -> None:
        self._ring.append(line)
        if not self._wake.is_set():
            self._awaken()

    def reopen(self) -> None:
        """Ask the thread to open the file again, after it was moved away."""
        self._reopen_asked = True
        self._awaken()

    def _awaken(self) -> None:
        # Not before there is something to write: a process with one thread reads and
        # writes its sockets without a lock, in the kernel and in the C library.
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, name="access-log", daemon=True
            )
            self._thread.start()
        self._wake.set()

    def close(self, timeout_s: float) -> bool:
        """Write what waits, and stop; returns False when the sink blocked too long.

        Lines that come later, and lines left over, are counted as dropped.
        """
        self._room = 0
        self._closing.set()
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        if thread is not None and thread.is_alive():
            self._abandoned = True
            left = len(self._ring)
            self._ring.clear()
            self._count_dropped(left)
            return False
        if self._path is not None and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        return True

    def _encode(self, line: Mapping[str, object]) -> bytes:
        fields = dict(line)
        peer = self._hash_peer(fields.pop("peer", ""))
        start = f'{{"ts":"{self._now()}","msg":"access","peer":"{peer}",'.encode()
        body = encode_access(fields, _MAX_WRITE_BYTES - len(start))
        if len(body) == 2:  # noqa: PLR2004 - "{}"
            return start[:-1] + b"}\n"
        return b"%b%b\n" % (start, body[1:])

    def _now(self) -> str:
        now_s = self._wall_s()
        second = int(now_s)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now_s - second) * 1000):03d}Z"

    def _hash_peer(self, address: object) -> str:
        text = str(address)
        known = self._peers.get(text)
        if known is None:
            if len(self._peers) >= _PEERS_REMEMBERED:
                self._peers.clear()
            digest = hashlib.blake2b(
                text.encode("utf-8", "replace"), key=self._peer_key, digest_size=3
            )
            known = self._peers[text] = f"h:{digest.hexdigest()}"
        return known

    # What follows runs in the thread.

    def _run(self) -> None:
        while not (self._closing.is_set() and not self._ring):
            self._wake.wait()
            # Not at once: many lines then cost one wake-up and few writes.
            self._closing.wait(_GATHER_S)
            # Before looking: a line that comes from here on sets it again.
            self._wake.clear()
            if self._reopen_asked:
                self._reopen_asked = False
                self._reopen()
            self._drain()
            if self._closing.is_set():
                self._wake.set()

    def _drain(self) -> None:
        lines: list[bytes] = []
        size = 0
        # `close` may empty the ring at any moment.
        with contextlib.suppress(IndexError):
            while True:
                line = self._ring.popleft()
                if size + len(line) > _MAX_WRITE_BYTES:
                    self._put(lines)
                    lines, size = [], 0
                lines.append(line)
                size += len(line)
        if lines:
            self._put(lines)

    def _put(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        if self._is_torn:
            # The rest of a broken line must not swallow the next one.
            data = b"\n" + data
        written = 0
        try:
            while written < len(data):
                try:
                    written += os.write(self._descriptor, data[written:])
                except BlockingIOError:
                    self._await_room()
        except OSError:
            # A full disk, a reader that has gone: the requests matter more.
            whole = data.count(b"\n", 0, written) - self._is_torn
            self._count_dropped(len(lines) - max(whole, 0))
            self._is_torn = (
                self._is_torn if written == 0 else data[written - 1 : written] != b"\n"
            )
        else:
            self._is_torn = False

    def _await_room(self) -> None:
        poller = select.poll()
        poller.register(self._descriptor, select.POLLOUT)
        while not poller.poll(_POLL_MS):
            if self._abandoned:
                raise OSError(errno.ETIMEDOUT, "closed while the sink blocked")

    def _reopen(self) -> None:
        if self._path is None:
            return
        try:
            fresh = _open_access(self._path)
        except OSError as error:
            structlog.get_logger("fastgate.log").warning(
                "access log not reopened", errno=errno.errorcode.get(error.errno or 0)
            )
            return
        os.close(self._descriptor)
        self._descriptor = fresh
        self._is_torn = False


class AuditLog:
    """One JSON line a mutation, on disk before the mutation is answered; never dropped.

    path: File to append to; made with mode 0600, and brought back to it.
    Raises ControlError where it cannot be opened or is no regular file of ours.

    Threads may share it. Fields are written as given, so they hold kinds, hashes and
    numbers: never an identifier or a token.
    """

    def __init__(self, path: Path, *, wall_s: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall_s = wall_s
        self._lock = threading.Lock()
        self._descriptor = _open_audit(path)

    def append(self, actor: str, action: str, fields: Mapping[str, object]) -> None:
        """Write one line and wait until the disk has it.

        actor: Token name, peer uid, `tap` or `intake`. action: What was asked for.
        Raises ControlError when it could not be written: the caller must then refuse
        the mutation. BugError for a field named like one of the line's own.
        """
        if not _AUDIT_RESERVED.isdisjoint(fields):
            raise BugError("an audit field is named like one of the line's own")
        now_s = self._wall_s()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(int(now_s)))
        line = {
            "ts": f"{stamp}.{int(now_s % 1 * 1000):03d}Z",
            "msg": "audit",
            "actor": actor,
            "action": action,
            **fields,
        }
        try:
            data = encode_ascii(line) + b"\n"
        except (TypeError, ValueError) as error:
            raise BugError("an audit field is no JSON value") from error
        with self._lock:
            try:
                self._append(data)
            except OSError as error:
                raise ControlError("the audit log cannot be written") from error

    def reopen(self) -> None:
        """Open the file again, after it was moved away.

        Raises ControlError, and stays with the old file, when that fails.
        """
        with self._lock:
            fresh = _open_audit(self._path)
            old, self._descriptor = self._descriptor, fresh
            os.close(old)

    def close(self) -> None:
        """Close the file; an append afterwards raises ControlError."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _append(self, data: bytes) -> None:
        # A line torn by a full disk or a crash must not swallow this one.
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        written = 0
        while written < len(data):
            written += os.write(self._descriptor, data[written:])
        os.fsync(self._descriptor)


def _open_access(path: Path) -> int:
    # Non-blocking: opening a pipe without a reader must fail, not wait.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(path, flags, 0o640)


def _open_audit(path: Path) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o600)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "no regular file")  # noqa: TRY301
            os.fchmod(descriptor, 0o600)
            # The name is as durable as the lines.
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError:
            os.close(descriptor)
            raise
    except OSError as error:
        raise ControlError("the audit log cannot be opened") from error
    return descriptor
