"""Tests of `devlxd.events`."""
