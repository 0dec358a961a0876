"""An HTTP/1.1 server for hostile clients on a UNIX socket.

Connections, requests, limits and timeouts. This package depends on no container,
no dialect of the API and no JSON.
"""
