"""Native: the door of the revocation feed into the compiled modules.

Owns:      the check that they are there.
Called by: the parts of the feed; nobody else outside of hotpath and wiring imports
           `_ext`.

There is no fall-back, as hotpath.native says: a batch of 256 events read by the
interpreter would hold up the loop that others wait for.
"""

from fastgate.errors import StartError

try:
    from fastgate._ext.event_frame import MAGIC, VERSION, BatchError, EventFrame
    from fastgate._ext.event_sums import PublisherState, term
    from fastgate._ext.events import RECORD_BYTES, SEGMENT_COUNT, EventStore
except ImportError as missing:
    raise StartError(
        "the compiled modules of fastgate are missing: install a wheel, or build them "
        "with `pip install .` (needs gcc and the Python headers)"
    ) from missing

__all__ = [
    "MAGIC",
    "RECORD_BYTES",
    "SEGMENT_COUNT",
    "VERSION",
    "BatchError",
    "EventFrame",
    "EventStore",
    "PublisherState",
    "term",
]
