"""Tests of `devlxd.admin.event_reporter`."""
