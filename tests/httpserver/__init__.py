"""Tests of devlxd.httpserver."""
