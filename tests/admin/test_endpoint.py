"""Tests of `devlxd.admin.endpoint`."""
