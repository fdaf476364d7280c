"""Qt and magicgui: the dataset dock, the crop dock."""
