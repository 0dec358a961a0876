"""What devlxd tells operators, over sockets of its own."""
