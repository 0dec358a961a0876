"""Tests of `devlxd.admin.service`."""
