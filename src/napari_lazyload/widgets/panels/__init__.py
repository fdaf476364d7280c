"""The foldable panels of the dataset dock."""
