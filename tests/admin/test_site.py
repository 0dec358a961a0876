"""Tests of `devlxd.admin.site`."""
