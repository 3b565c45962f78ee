"""Every fuzz target holds for its own seeds, so that `make fuzz` starts from green."""

import pytest
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_target_holds_for_its_seeds(name):
    """What the seeds show, with the release build and without a fuzzer."""
    target = TARGETS[name]
    if target.fuzz_build_only:
        pytest.skip("only the fuzzing build has the module")
    seeds = [seed for seed in target.seeds() if len(seed) <= target.max_bytes]
    assert len(seeds) > 3
    for seed in seeds:
        target.check(seed)
