"""napari without Qt: what ties this package to napari's layers and viewer.

`display` alone shows what is not exact yet.
"""
