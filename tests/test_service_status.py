"""Tests of `devlxd.service_status`."""
