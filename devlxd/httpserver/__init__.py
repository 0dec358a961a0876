"""An HTTP/1.1 server for hostile clients on a UNIX socket.

Connections, requests, limits and timeouts. This package does not depend on
containers, dialects of the API or JSON.
"""
