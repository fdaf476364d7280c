"""Crops: numbers first (`estimate`), then pixels (`crop`).

Exports and the crop dock use it. No napari, no Qt.
"""
