"""The guest API: the gate, the dialects, and one resource for each path.

The gate checks the permissions of callers. A dialect is a published version of the API.
Sockets, timeouts of connections and buffers belong in `devlxd.httpserver`.
"""
