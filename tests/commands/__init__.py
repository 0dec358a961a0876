"""Tests of devlxd.commands."""
