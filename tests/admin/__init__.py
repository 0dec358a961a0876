"""Tests of `devlxd.admin`."""
