"""Tests of ``devlxd``."""
