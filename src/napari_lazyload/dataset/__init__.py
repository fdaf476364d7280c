"""What one path opens as: images, a meta table, and the layers that napari gets.

Windows, scripts and the command line open through it.
"""
