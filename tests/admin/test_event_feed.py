"""Tests of `devlxd.admin.event_feed`."""
