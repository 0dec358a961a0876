"""Tests of `devlxd.admin.actions`."""
