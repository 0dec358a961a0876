"""Tests of devlxd; ``tests.integration`` needs root and containers."""

from hypothesis import HealthCheck, settings

# How long an example takes says more of what else the machine does than of devlxd.
settings.register_profile(
    "devlxd", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("devlxd")
