"""Tests of `devlxd.admin.event_stream`."""
