"""Binaries whose pixels lie in the file as they are: NPY, MRC, NIfTI, NRRD, MetaImage, FITS, raw.

Each format reads its header and describes strided pixels; `strided` reads them in place.
"""
