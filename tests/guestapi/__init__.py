"""Tests of devlxd.guestapi."""
