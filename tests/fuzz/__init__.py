"""Fuzzing: properties that hold for any bytes, and the bytes that might break them.

Each target is a module with an attribute ``TARGET``. The tests in `test_fuzz` try a few
examples of each; ``python -m tests.fuzz --seconds N`` tries as many as it can.
"""
