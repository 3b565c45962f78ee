"""Installation: what a configuration needs installed, found out before anything starts.

Owns:      nothing.
Called by: wiring.supervisor, first of all.
"""

from fastgate.adapters.aiohttp_server.lane import require_c_parser
from fastgate.config.model import Config
from fastgate.wiring.buses import require_extra
from fastgate.wiring.signing import build_seal

__all__ = ["check_installation"]


def check_installation(config: Config) -> None:
    """Raise StartError or ConfigError, which say what is missing and what to do.

    In a child it would come too late: the supervisor would try again and again.
    """
    require_c_parser()
    require_extra(config.revocation.technology)
    build_seal(config.revocation.signing, config.node_name)
