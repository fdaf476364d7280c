"""The parts of a crop that know napari layers: outlines, masks, geometry, new layers."""
