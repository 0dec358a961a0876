"""A client of etcd, and the synchronization with the keys below a prefix.

The package speaks etcd's JSON gateway, follows the keys below a prefix, and keeps
what it knows in a file. It knows no containers and no documents: the store of
containers on top of it is `devlxd.containers.etcd_store`.
"""
