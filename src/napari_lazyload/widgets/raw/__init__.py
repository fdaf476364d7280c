"""The dialog that describes a raw file."""
