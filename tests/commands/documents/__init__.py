"""Tests of `devlxd.commands.documents`."""
