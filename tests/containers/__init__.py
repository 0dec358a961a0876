"""Tests of ``devlxd.containers``."""
