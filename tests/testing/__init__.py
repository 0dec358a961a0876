"""Tests of `devlxd.testing`."""
