"""Tests of ``devlxd.peers``."""
