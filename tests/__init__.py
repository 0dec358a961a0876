"""Tests of devlxd; ``tests.integration`` needs root and containers."""

from hypothesis import HealthCheck, settings

# The time for one example depends more on the load of the machine than on devlxd.
settings.register_profile(
    "devlxd", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("devlxd")
