"""A folder as a Python object for scripts and training loops. pandas begins here."""
