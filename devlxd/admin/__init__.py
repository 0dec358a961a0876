# -*- test-case-name: tests.admin -*-
"""The operator's socket: what devlxd says of itself, over HTTP.

It has a site of its own, of `twisted.web`, apart from the server for guests. The
resources read the guest services through `devlxd.interfaces.IGuestService`; nothing in
this package knows dialects, documents or the kernel. No response has values of a
config: only names of keys and files.
"""
