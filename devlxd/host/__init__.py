"""What the kernel and systemd offer: sockets, inotify, locks, standard output."""
