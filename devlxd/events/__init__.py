"""Events: what has changed between two snapshots of a container.

The bus compares the snapshots of a store, records the events in the journal, and
delivers them to subscribers. How events are rendered, and which config keys guests may
see, is not known here.
"""
