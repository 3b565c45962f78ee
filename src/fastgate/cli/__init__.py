"""The command line: one file a verb, lazy imports."""
