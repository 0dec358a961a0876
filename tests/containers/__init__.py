"""Tests of `devlxd.containers`."""
