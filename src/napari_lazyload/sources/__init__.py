"""The formats: what turns a path into sources of chunks.

`registry` is the door, `formats` the one table; a room for each kind of format. Imports `core`
alone of this package, never the cache.
"""
