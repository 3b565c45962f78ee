"""The compiled decision cache and its oracle agree, evictions included."""

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.oracle import decisions as oracle

from fastgate._ext import decisions as native

SEED = bytes(range(16))

# Few digests in few sets, so that sets overflow; some differ in one word only.
DIGESTS = [bytes([n]) * 32 for n in range(40)] + [
    bytes(8 * word) + bytes([n]) * 8 + bytes(24 - 8 * word)
    for n in range(1, 11)
    for word in range(4)
]

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.sampled_from(DIGESTS)),
        st.tuples(
            st.just("put"),
            st.sampled_from(DIGESTS),
            st.integers(0, 999),
            st.integers(0, 80),
        ),
        st.tuples(st.just("drop"), st.sampled_from(DIGESTS)),
        st.tuples(st.just("clear")),
    ),
    max_size=300,
)


@settings(max_examples=300, deadline=None)
@given(capacity=st.integers(1, 40), steps=STEPS)
def test_decision_cache_agrees_with_oracle_at_every_step(capacity, steps):
    """Any sequence of calls has one outcome, down to which entry is evicted."""
    twins = [
        module.DecisionCache(capacity, 64, seed=SEED) for module in (native, oracle)
    ]
    for name, *arguments in steps:
        answers = [getattr(twin, name)(*arguments) for twin in twins]
        assert answers[0] == answers[1], (name, arguments)
        assert twins[0].stats() == twins[1].stats()
    assert [len(twin) for twin in twins] == [len(twins[1])] * 2
    assert twins[0].capacity == twins[1].capacity
