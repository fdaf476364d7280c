"""Sources and helpers for the tests of this package and of packages that build on it."""
