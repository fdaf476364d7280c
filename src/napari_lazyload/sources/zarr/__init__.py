"""Zarr stores, groups and arrays: folders, zip files and servers.

OME-Zarr stands on it; it knows no image metadata.
"""
