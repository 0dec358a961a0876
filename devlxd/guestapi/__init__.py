"""The guest API: the gate, the dialects, and one resource for each path.

This package does not deal with sockets, timeouts of connections or buffers.
"""
