"""Tests of ``devlxd.images``."""
