"""Tests of how processes of real containers would be identified."""

from __future__ import annotations
