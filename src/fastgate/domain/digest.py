"""Digest: an order-free sum over a publisher's live events, in expiry buckets.

Owns:      nothing: the sums are kept in compiled arrays, no object an event.
Called by: control.origin, one object per publisher and origin.
Source:    REVOCATION.md section 4 (digest). It detects
           loss; only signatures detect lies.
"""

from fastgate.domain.native import PublisherState, term

__all__ = ["PublisherState", "term"]
