"""A loop and sockets without a kernel: what a lane sees of both, one step at a time.

Owns:      the order in which things happen; nothing happens unless the fuzzer says so.
Called by: tests.fuzz.lane.

The sockets keep the promises that asyncio's and uvloop's keep: nothing comes while
reading is paused, an end comes behind the bytes before it, `connection_lost` comes once
and never from within a call. What a lane does against their contract is kept as a
fault, since whoever called it may swallow an exception.
"""

import asyncio
import contextvars
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# Reason: an input has some hundred steps; a lane that never comes to rest has a fault.
_MOST_CALLS = 20_000


class Loop(asyncio.AbstractEventLoop):
    """Runs what is ready when told to; time moves when told to."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.dials: deque[tuple[asyncio.Future[None], Wire]] = deque()
        self.wires: list[Wire] = []
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[asyncio.TimerHandle] = []
        self._now_s = 1000.0

    # -- what is asked of a loop ---------------------------------------------------

    def call_soon(self, callback, *args, context=None):
        handle = asyncio.Handle(
            callback, args, self, context or contextvars.copy_context()
        )
        self._ready.append(handle)
        return handle

    def call_at(self, when, callback, *args, context=None):
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timers.append(handle)
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def time(self) -> float:
        return self._now_s

    def create_future(self):
        return asyncio.Future(loop=self)

    def create_task(self, coro, *, name=None, context=None):
        return asyncio.Task(coro, loop=self, name=name, context=context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context) -> None:
        found = context.get("exception")
        self.faults.append(f"{context['message']}: {found!r}")

    async def create_connection(self, factory, host, port, **_: Any):
        """Wait until the fuzzer answers the dial."""
        wire = Wire(self, f"up{len(self.wires)}", host, port)
        answered = self.create_future()
        self.dials.append((answered, wire))
        await answered
        self.wires.append(wire)
        protocol = factory()
        wire.connect(protocol)
        return wire, protocol

    # -- what the fuzzer does ------------------------------------------------------

    def settle(self) -> None:
        """Run what is ready, and what that makes ready."""
        for _ in range(_MOST_CALLS):
            if not self._ready:
                return
            handle = self._ready.popleft()
            if not handle.cancelled():
                handle._run()
        self.faults.append("the loop never comes to rest")
        self._ready.clear()

    def elapse(self, seconds: float) -> None:
        """Let time pass; a timer that is set anew meanwhile waits for the next time."""
        self._now_s += seconds
        timers, self._timers = self._timers, []
        for handle in sorted(timers, key=lambda timer: timer.when()):
            if handle.when() > self._now_s:
                self._timers.append(handle)
            elif not handle.cancelled():
                self._ready.append(handle)
        self.settle()

    def answer_dial(self, error: OSError | None) -> bool:
        """Let the oldest dial succeed or fail; False where nobody dials."""
        while self.dials:
            answered, _ = self.dials.popleft()
            if not answered.done():
                if error is None:
                    answered.set_result(None)
                else:
                    answered.set_exception(error)
                return True
        return False


class _Descriptor:
    """The socket behind a wire, as far as an option is set on it."""

    family = socket.AF_UNIX

    def __init__(self) -> None:
        self.resets = False

    def setsockopt(self, _level: int, option: int, _value: bytes) -> None:
        self.resets = self.resets or option == socket.SO_LINGER


class Wire(asyncio.Transport):
    """One end of a connection, and everything that went over it.

    out: Bytes written. came: Bytes that were delivered. writes: Where in `out` each
    write began, how much had come by then, and when among all writes.
    """

    _order = 0

    def __init__(self, loop: Loop, name: str, peer: str, port: int) -> None:
        super().__init__()
        self.loop = loop
        self.name = name
        self.peer = peer
        self.port = port
        self.out = bytearray()
        self.came = bytearray()
        self.writes: list[tuple[int, int, int]] = []
        self.closing = False
        self.lost = False
        self.left = False  # the lane is done with it
        self.parted = False  # the peer went first
        self.ended = False  # the lane will write no more
        self.reset = False  # it ended with an error of the peer's
        self.full = False  # the peer takes nothing: writing is paused
        self.descriptor = _Descriptor()
        self._protocol: Any = None
        self._reading = True
        self._coming: deque[bytes | OSError | None] = deque()

    # -- called by the lane --------------------------------------------------------

    def write(self, data: Any) -> None:
        if self.ended or self.left or self.lost:
            self.loop.faults.append(f"{self.name}: written after its end: {data!r}")
            return
        if self.closing:
            return  # the peer is gone, and the lane is yet to be told: it goes nowhere
        Wire._order += 1
        self.writes.append((len(self.out), len(self.came), Wire._order))
        self.out += data

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.left = True
        self._close()

    def abort(self) -> None:
        self.left = True
        self.closing = True
        self.loop.call_soon(self._lose, None)

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self.loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return self._reading and not self.closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        known = {"peername": (self.peer, self.port), "socket": self.descriptor}
        return known.get(name, default)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high=None, low=None) -> None: ...

    def get_protocol(self):
        return self._protocol

    # -- what the fuzzer does ------------------------------------------------------

    def connect(self, protocol: Any) -> None:
        """Begin."""
        self._protocol = protocol
        self._call(protocol.connection_made, self)

    def feed(self, item: bytes | OSError | None) -> None:
        """Let bytes come from the peer; None: its end; an error: a reset."""
        self._coming.append(item)
        self._deliver()

    def choke(self, full: bool) -> None:
        """Let the peer take nothing, or everything again."""
        if full == self.full or self.lost:
            return
        self.full = full
        if self.closing:
            if not full:
                self.loop.call_soon(self._lose, None)
        elif full:
            self._call(self._protocol.pause_writing)
        else:
            self._call(self._protocol.resume_writing)

    def part(self) -> None:
        """Let the peer go without a word, whether it is read from or not."""
        self.parted = self.parted or not (self.ended or self.left)
        self.closing = True
        self.loop.call_soon(self._lose, ConnectionResetError())

    def _deliver(self) -> None:
        while self._coming and self._reading and not self.closing:
            item = self._coming.popleft()
            if isinstance(item, bytes):
                self.came += item
                self._call(self._protocol.data_received, item)
                continue
            self.parted = self.parted or not (self.ended or self.left)
            if item is None:
                if not self._call(self._protocol.eof_received):
                    self._close()
            else:
                self.reset = True
                self.closing = True
                self.loop.call_soon(self._lose, item)

    def _close(self) -> None:
        if not self.closing:
            self.closing = True
            if not self.full:
                self.loop.call_soon(self._lose, None)

    def _lose(self, error: OSError | None) -> None:
        if not self.lost:
            self.lost = True
            self._coming.clear()
            self._call(self._protocol.connection_lost, error)

    def _call(self, callback: Callable[..., Any], *args: Any) -> Any:
        try:
            return callback(*args)
        except Exception as error:  # noqa: BLE001 - the loop would log it and go on
            self.loop.faults.append(f"{self.name}: {callback.__name__}: {error!r}")
            return None
