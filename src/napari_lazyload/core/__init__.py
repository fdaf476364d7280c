"""Frozen data and pure functions: metadata, chunks, regions, levels, settings, errors.

Every other room uses it. It imports numpy and the standard library, does no input or output but
settings and `stat`, and knows no format.
"""
