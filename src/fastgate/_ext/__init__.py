"""Compiled loops: bytes in, codes out. Imports nothing of fastgate."""
