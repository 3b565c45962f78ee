"""The list of methods is written twice, for each lane in its language (T25)."""

import pytest
from tests.wire.test_lane_methods import REGISTERED, UNKNOWN

from fastgate._ext import http1_probe
from fastgate.domain.snapshot import Limits
from fastgate.domain.verdict import Reason
from fastgate.hotpath.headers import FORWARDED_METHODS, read_head

_FAULTS = {0: None, 4: Reason.METHOD_NOT_ALLOWED, 7: Reason.NOT_SUPPORTED}


@pytest.mark.parametrize("method", sorted({*REGISTERED, *UNKNOWN, *FORWARDED_METHODS}))
def test_t25_scanner_and_header_rules_have_the_same_list(method):
    """Each method means the same to both: forwarded, 405 or 501."""
    fault = http1_probe.request([f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode()])[0]
    read = read_head(
        method, b"/", (1, 1), [(b"Host", b"a")], peer="127.0.0.1", limits=Limits()
    )
    assert (read if isinstance(read, Reason) else None) == _FAULTS[fault]
