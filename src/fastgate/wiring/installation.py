"""Installation: what a configuration needs installed, found out before anything starts.

Owns:      nothing.
Called by: wiring.supervisor, first of all.
"""

import importlib

from fastgate.adapters.aiohttp_server.lane import require_c_parser
from fastgate.config.model import Config
from fastgate.errors import StartError

__all__ = ["check_installation"]


def check_installation(config: Config) -> None:
    """Raise StartError, which says what to do, where something is missing.

    In a child it would come too late: the supervisor would try again and again.
    """
    require_c_parser()
    if config.revocation.is_local:
        return
    try:
        # An extra: a gateway with the local bus needs no NATS client.
        importlib.import_module("fastgate.adapters.nats_bus.bus")
    except ModuleNotFoundError as missing:
        raise StartError(
            "revocation.bus is NATS, but its client is not installed: "
            'pip install "fastgate[nats]"'
        ) from missing
