"""What all tests share: hypothesis sets no deadlines; time limits are pytest's."""

from hypothesis import HealthCheck, settings

# Reason: a busy machine makes one example slow and says nothing about the code.
settings.register_profile(
    "fastgate", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fastgate")
