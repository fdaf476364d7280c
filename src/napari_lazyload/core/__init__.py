"""Numpy and the standard library alone: metadata, chunk grids, regions, errors, settings."""
