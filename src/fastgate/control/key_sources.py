"""Key sources: where the configuration says that each issuer's keys are.

Owns:      nothing.
Called by: wiring, at start and on reload.
"""

from collections.abc import Mapping

from fastgate.config.issuers import Issuer
from fastgate.control.key_policy import KeySource

__all__ = ["key_sources"]


def key_sources(issuers: Mapping[str, Issuer]) -> tuple[KeySource, ...]:
    """Return one source per issuer, by alias in configured order."""
    return tuple(
        KeySource(
            alias=alias,
            issuer=issuer.issuer,
            jwks_url=issuer.jwks_url,
            metadata_url=issuer.discovery_url,
            lifetime_s=issuer.effective_jwks_lifetime.total_seconds(),
            max_stale_s=issuer.jwks_max_stale.total_seconds(),
        )
        for alias, issuer in issuers.items()
    )
