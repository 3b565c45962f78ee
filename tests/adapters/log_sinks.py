"""What the tests of both logs share: a line, a sink that blocks, and waiting."""

import json
import os
import select
import threading
import time

KEY = b"0123456789abcdef"


DEADLINE_S = 20.0


LINE = {
    "peer": "203.0.113.7", "request_id": "01JD", "trace_id": "4bf9", "method": "GET",
    "route": "orders", "proto": "1.1", "status": 200, "bytes_in": 0, "bytes_out": 512,
    "duration_ms": 13.4, "upstream_ms": 12.8, "overhead_us": 412, "lane": "general",
    "region": "us", "region_source": "claim", "gateway_region": "eu", "token": "jwt",
    "verdict": "allow", "reason": None, "kid": "ec-1", "cache": "hit", "age_ms": 80,
}  # fmt: skip


class Drops:
    """Counts dropped lines, and lets a test wait for them."""

    def __init__(self):
        self.count = 0
        self._changed = threading.Condition()

    def __call__(self, lines):
        with self._changed:
            self.count += lines
            self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self.count >= count, DEADLINE_S)


class Pipe:
    """A sink that a test reads when it likes."""

    def __init__(self):
        self.reader, self.writer = os.pipe()

    def read_lines(self, count):
        data = b""
        while data.count(b"\n") < count:
            assert select.select([self.reader], [], [], DEADLINE_S)[0], data
            data += os.read(self.reader, 65_536)
        return data.splitlines()

    def close(self):
        for descriptor in (self.reader, self.writer):
            if descriptor >= 0:
                os.close(descriptor)


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def wait_until(holds):
    """Yield to the writer thread until a condition holds; False past the deadline."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if holds():
            return True
        os.sched_yield()
    return False
