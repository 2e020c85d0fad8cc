"""The firmware: core/ is the C that boards and the Python module share."""
