"""Tests of `devlxd.admin.listener`."""
