"""Tests of the guest library."""
