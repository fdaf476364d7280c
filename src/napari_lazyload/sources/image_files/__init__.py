"""Image files: one module for each format that needs its own, and `decode` in front of them.

The folder room reads its pages here. TIFF has a room of its own.
"""
