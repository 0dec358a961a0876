"""Benchmarks: programs to run in a checkout.

``python -m benchmarks`` measures devlxd beside LXD, Twisted and nginx, and writes
``docs/performance.rst``, which also lists the others: they are programs of their own,
``python -m benchmarks.NAME``. Its parts are in `benchmarks.sections`.

Most accept ``--checkout DIR`` to measure another checkout of devlxd in turn with this
one, and ``--quick``. They use only interfaces that all versions of devlxd share: the
command line, documents and sockets. `benchmarks.serving` has the code that they have in
common.
"""
