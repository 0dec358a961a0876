"""An HTTP/1.1 server for hostile clients on a UNIX socket.

This package deals with connections, requests, limits and timeouts. It does not depend
on containers, dialects of the API or JSON.
"""
