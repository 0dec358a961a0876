"""Tests of devlxd.host."""
