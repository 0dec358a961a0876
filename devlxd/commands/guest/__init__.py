"""The commands for guests: what ``devlxd`` does in a container.

They ask the guest API by the synchronous face of `devlxd.client`, which starts quickly.
"""
