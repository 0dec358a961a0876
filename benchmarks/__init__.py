"""Benchmarks: programs to run in a checkout, ``python -m benchmarks.NAME``.

* `requests`: requests per second, compared with a bare Twisted Site.
* `beside_lxd`: requests per second, compared with a real LXD.
* `boots`: the time of a boot with cloud-init, also under a real LXD and without a
  socket.
* `events`: events per second, and their delay, also compared with a real LXD.
* `each`: the cost of a socket for each of 10 000 containers.
* `directory`: the time to read 10 000 containers, and the blocking of the reactor.
* `images`: the speed of downloads, compared with nginx, and their cost.
* `memory`: memory and disk space for events that are not read.
* `neighbours`: the response times of one container while another attacks.
* `soak`: memory, descriptors and right answers over a long time.

Each except `soak` accepts ``--checkout DIR`` to measure another checkout of devlxd in
turn with this one, and ``--quick``. They use only interfaces that all versions of
devlxd share: the command line, documents and sockets. `benchmarks.serving` has the code
that they have in common.
"""
