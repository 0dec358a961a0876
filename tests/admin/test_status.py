"""Tests of `devlxd.admin.status`."""
