"""Tests of `devlxd.admin.options`."""
