"""Tests of `devlxd.httpserver`."""
