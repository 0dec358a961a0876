"""Tests of `devlxd.peers`."""
