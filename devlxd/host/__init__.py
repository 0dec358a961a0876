"""What a server process needs of the kernel, of systemd and of Python.

The modules are about listening sockets and accepting, inotify, lock files, signals,
the monotonic clock, garbage collection, a standard output that never blocks, what
systemd is told and keeps for the next process, and checks of the host at the start.
This package does not depend on HTTP, containers or dialects.
"""
