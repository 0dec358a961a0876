"""What guests may ask: the gate, the dialects, and one resource a path.

Nothing here knows a socket, a timeout of a connection or a buffer.
"""
