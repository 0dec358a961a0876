"""Services of the kernel and of systemd for a server process.

Listening sockets and accepting, inotify, lock files, signals, the monotonic clock
and a standard output that never blocks. This package does not depend on HTTP,
containers or dialects.
"""
