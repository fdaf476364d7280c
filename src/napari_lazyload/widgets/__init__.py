"""Qt: the dock of the dataset, the crop dock, dialogs.

They ask layers and the load status, never the cache.
"""
