"""Tests of ``devlxd.web``."""
