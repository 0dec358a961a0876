"""``devlxd container``: reading and changing the documents of containers.

`devlxd.documents` does the work. No devlxd has to run: one that does learns of each
change from the directory.
"""
