"""Tests of `devlxd.documents`."""
