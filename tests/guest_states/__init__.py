"""Tests of `devlxd.guest_states`."""
