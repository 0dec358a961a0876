"""Guests and servers in one process, without sockets: the parts of the fakes.

These modules are private: `devlxd.testing` exports what tests need.
"""
