"""Tests of `devlxd.logs`."""
