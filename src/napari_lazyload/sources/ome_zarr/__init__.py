"""OME-Zarr: images, labels, plates, series and plain arrays in Zarr stores.

`open` is its door. Stands on the zarr room.
"""
