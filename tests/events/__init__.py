"""Tests of ``devlxd.events``."""
