"""Image folders, globs and lists of files: listed, grouped by their headers, stacked.

`open_folder` and `open_tiff` are its doors. Uses image_files and tiff for the pixels.
"""
