"""Tests of the commands for guests."""
