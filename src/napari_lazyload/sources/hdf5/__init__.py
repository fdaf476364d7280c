"""HDF5 files: data sets as images, with the axes and scales that their writers left.

`open` is its door.
"""
