"""The only place that builds objects: a file per process role, no logic."""
