"""Where dask begins: lazy arrays over sources, images, and sources derived from others.

Datasets, sequences, crops and layers use it. Imports core, loading and sources.
"""
