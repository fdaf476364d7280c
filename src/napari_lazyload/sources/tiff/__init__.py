"""TIFF files: directories, pages, tiles, and what ImageJ, OME and instruments write into them.

Used by image_files and folder; imports what is below all formats.
"""
