"""Tests of `devlxd.admin.operation`."""
