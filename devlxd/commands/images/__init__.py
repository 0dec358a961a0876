"""The actions of ``devlxd image``, on a directory of images; no devlxd has to run."""
