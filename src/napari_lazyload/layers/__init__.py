"""napari without Qt: how lazy layers are shown, and which row of the table a view stands for."""
