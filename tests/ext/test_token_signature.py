"""Raw signatures to DER: the range check that the library must not be asked for."""

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from tests.oracle import token as oracle

from fastgate._ext import token as native

TWINS = pytest.mark.parametrize("token", [native, oracle], ids=["native", "oracle"])
ORDER = oracle.ORDERS


def raw(r: int, s: int, size: int) -> bytes:
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


@pytest.mark.parametrize("size", [32, 48])
@given(data=st.data())
def test_der_signature_is_what_the_library_would_write(size, data):
    """Minimal integers, any size of them, for both curves."""
    integer = st.one_of(
        st.integers(1, ORDER[size] - 1),
        st.integers(0, 8 * size - 1).map(lambda bit: min(1 << bit, ORDER[size] - 1)),
    )
    r, s = data.draw(integer), data.draw(integer)
    expected = encode_dss_signature(r, s)
    assert native.der_signature(raw(r, s, size), size) == expected
    assert oracle.der_signature(raw(r, s, size), size) == expected


@TWINS
@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("wrong", ["zero", "order", "above", "most"])
@pytest.mark.parametrize("place", [0, 1])
def test_der_signature_refuses_integers_out_of_range(token, size, wrong, place):
    """1 <= r, s <= n - 1: SEC 1 section 4.1.4."""
    n = ORDER[size]
    bad = {"zero": 0, "order": n, "above": n + 1, "most": (1 << 8 * size) - 1}[wrong]
    pair = [1, 1]
    pair[place] = bad
    assert token.der_signature(raw(*pair, size), size) is None
    pair[place] = n - 1
    assert token.der_signature(raw(*pair, size), size) is not None


@TWINS
@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("octets", [0, 1, 63, 65, 72, 95, 97, 128])
def test_der_signature_refuses_another_length(token, size, octets):
    """DER in place of raw, a cut and a stretched signature among them."""
    assert token.der_signature(b"\x01" * octets, size) is None


@pytest.mark.parametrize("size", [0, -32, 31, 66])
def test_der_signature_knows_two_curves_alone(size):
    """Another size is a bug of the caller."""
    with pytest.raises(ValueError, match="32 or 48"):
        native.der_signature(bytes(64), size)
