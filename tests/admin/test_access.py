"""Tests of `devlxd.admin.access`."""
