"""What the kernel and systemd offer a server process.

Listening sockets and accepting, inotify, lock files, signals, the monotonic
clock and a standard output that never blocks. Nothing in this package knows
HTTP, a container or a dialect.
"""
