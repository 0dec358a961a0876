"""What a server process needs of the kernel, of systemd and of Python.

The modules are about listening sockets and accepting, inotify, lock files, signals,
the monotonic clock, garbage collection, and a standard output that never blocks.
This package does not depend on HTTP, containers or dialects.
"""
