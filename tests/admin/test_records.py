"""Tests of `devlxd.admin.records`."""
