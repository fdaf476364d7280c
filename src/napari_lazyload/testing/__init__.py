"""What a third party needs to test a source of its own. Nothing in the package imports it."""
