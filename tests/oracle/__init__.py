"""Plain-Python twins of the compiled modules: slow, obvious, never in the wheel."""
