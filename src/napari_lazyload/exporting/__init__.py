"""Crops written to files, streamed: OME-Zarr, OME-TIFF, NPY. A file gets its name when it is whole.

The crop dock and the command line use it.
"""
