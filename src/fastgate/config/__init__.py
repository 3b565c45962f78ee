"""What the operator wrote: models, loading with positions, compiling to a snapshot."""
