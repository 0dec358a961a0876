"""Tests of `devlxd.guestapi`."""
