"""The ``devlxd`` command, for operators.

This package reads arguments and prints results; other packages do the work. The
service, ``twistd devlxd``, is in `devlxd.tap`.
"""
