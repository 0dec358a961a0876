"""HTTP/1.1 as hostile clients on a UNIX socket speak it.

Connections, requests, limits and timeouts. Nothing here knows a container, a
dialect of the API or JSON.
"""
