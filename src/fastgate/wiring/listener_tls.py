"""Listener TLS: the certificate of a listener, in each process that shows it.

Owns:      the task that looks for a renewed one.
Called by: wiring.supervisor before the first fork, wiring.worker, wiring.agent.
"""

import asyncio
import logging
import ssl

from fastgate.adapters.tls_files import ServerTls
from fastgate.config.model import Config
from fastgate.config.server import Tls
from fastgate.errors import StartError

__all__ = ["ListenerTls", "intake_tls"]

_LOG = logging.getLogger("fastgate.tls")
# Reason: issuers of certificates overlap old and new by days.
_LOOK_S = 5.0


class ListenerTls:
    """TLS as a section of the configuration wants it.

    wanted: None where clients speak plain HTTP; so is `context` then.
    section: Its name, for messages.
    Raises StartError where its files fail.
    """

    def __init__(
        self, wanted: Tls | None, *, section: str = "tls", look_s: float = _LOOK_S
    ) -> None:
        self._look_s = look_s
        self._files = (
            None
            if wanted is None
            else ServerTls(wanted.cert, wanted.key, wanted.client_ca, section=section)
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


def intake_tls(config: Config) -> ListenerTls:
    """Return the TLS of the intake listener. Raises StartError."""
    wanted = None if config.intake is None else config.intake.tls
    return ListenerTls(wanted, section="intake.tls")
