"""Changing the documents of containers, for operators.

* Which text a document has after a change of one key: `devlxd.documents.changes`.
* Replacing the file of a document, atomically and under a lock:
  `devlxd.documents.replacing` and `devlxd.documents.locking`.
* Both together, with the checks of ``devlxd check``: `devlxd.documents.directory`.

This package does not read command lines and prints nothing. The directory store
does not need it: it learns of a change as of any other.
"""
