"""The crop dock."""
