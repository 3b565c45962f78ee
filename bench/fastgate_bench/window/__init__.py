"""Window: the worst time that a revoked token still works, under every fault there is.

`rounds` is the bench `window`; `rig` what it runs on, `links` and `faults` what is done
to that, `client`, `load` and `upstream` what is asked and written down, and `checker`
what the logs show when they are joined afterwards.
"""
