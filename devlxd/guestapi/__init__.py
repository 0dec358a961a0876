"""The guest API: the gate, the dialects, and one resource for each path.

This package depends on no socket, no timeout of a connection and no buffer.
"""
