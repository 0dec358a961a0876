"""What is known of the guests themselves: whether each is ready.

Guest states are devlxd's own data: the operator's documents do not contain them.
"""
