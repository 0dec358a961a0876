"""Tests of `devlxd.admin.containers`."""
