"""Tests of `devlxd.images`."""
