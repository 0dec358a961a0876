"""Tests of `devlxd.commands`."""
