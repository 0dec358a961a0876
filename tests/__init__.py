"""Tests of devlxd; ``tests.integration`` needs root and containers."""

from hypothesis import settings

# How long an example takes says more of what else the machine does than of devlxd.
settings.register_profile("devlxd", deadline=None)
settings.load_profile("devlxd")
