"""Installation: what a configuration needs installed, found out before anything starts.

Owns:      nothing.
Called by: wiring.supervisor, first of all.
"""

from fastgate.adapters.aiohttp_server.lane import require_c_parser
from fastgate.config.model import Config
from fastgate.wiring.buses import require_extra

__all__ = ["check_installation"]


def check_installation(config: Config) -> None:
    """Raise StartError, which says what to do, where something is missing.

    In a child it would come too late: the supervisor would try again and again.
    """
    require_c_parser()
    require_extra(config.revocation.technology)
