"""Tests of `devlxd.admin.tree`."""
