"""Tests of `devlxd.host`."""
