"""Listener TLS: the certificate of the data listener, in each process that shows it.

Owns:      the task that looks for a renewed one.
Called by: wiring.supervisor before the first fork, wiring.worker.
"""

import asyncio
import logging
import ssl

from fastgate.adapters.tls_files import ServerTls
from fastgate.config.model import Config
from fastgate.errors import StartError

__all__ = ["ListenerTls"]

_LOG = logging.getLogger("fastgate.tls")
# Reason: issuers of certificates overlap old and new by days.
_LOOK_S = 5.0


class ListenerTls:
    """TLS as the configuration wants it. Raises StartError where its files fail.

    context: None where clients speak plain HTTP.
    """

    def __init__(self, config: Config, *, look_s: float = _LOOK_S) -> None:
        wanted = config.tls
        self._look_s = look_s
        self._files = (
            None
            if wanted is None
            else ServerTls(wanted.cert, wanted.key, wanted.client_ca)
        )
        self._task: asyncio.Task[None] | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """Of new connections."""
        return None if self._files is None else self._files.context

    def start(self) -> None:
        """Look for a renewed certificate from now on; on the running loop."""
        if self._files is not None:
            self._task = asyncio.create_task(self._follow(self._files))

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    async def _follow(self, files: ServerTls) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            try:
                renewed = files.refresh()
            except StartError as error:
                _LOG.error("renewed certificate refused: %s", error)
            else:
                if renewed:
                    _LOG.info("certificate renewed")
