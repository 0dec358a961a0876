"""Guest states: whether the guest of each container is ready.

They are devlxd's own data: the operator's documents do not contain them.
"""
