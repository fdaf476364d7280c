"""Open images bigger than memory in napari at once, browse them lazily, compute what you need.

The nouns, from the outside in:

- a *dataset* (`Dataset`, `open_dataset`) is what one path opens as: images and a meta table;
- an *image* (`Image`) has named axes and *levels*: exact lazy dask arrays, the finest first;
- a level is a grid of *chunks*, the unit that is read, decoded and cached; in a folder, one file;
- a *source* knows one format: it has metadata and hands out references to chunks (`core.source`);
- the *chunk cache* keeps decoded chunks under one byte budget of the process (`loading.cache`);
- a *region* is a box in level-0 pixels: what a crop computes (`crop`, `estimate`);
- a *sequence* (`ImageSequence`, `read_images`) is a folder for scripts and training loops.

Importing the package imports nothing heavy; each name loads on first use.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
