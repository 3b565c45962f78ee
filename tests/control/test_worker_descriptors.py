"""Worker: what goes on when no descriptor is left (F26)."""

import errno
import os
import pathlib

from tests.control.test_worker import Rig
from tests.feed_fakes import until


async def test_worker_beats_when_no_descriptor_is_left(monkeypatch):
    """Clients that use them all up must not get the worker killed as stuck."""

    def refuse(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(pathlib.Path, "read_text", refuse)
    rig = Rig()
    await rig.worker.start()
    await until(lambda: len(rig.beats) > 2)
    await rig.worker.stop()
    ((_, note),) = rig.link.notes
    assert note["rss_bytes"] is None
