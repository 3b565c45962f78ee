"""Window: the worst time that a revoked token still works, under every fault there is.

`rounds` is the bench `window`, and `totals` what its rounds came to. `rig` and `node`
are what it runs on, with `links` (and `mixing`) or `namespaces` in between. `faults`
has all that is done to it, of four kinds in a file each; `bursts` start a `publisher`.
`load`, `subjects`, `client` and `upstream` are what is asked and written down, and
`checker` what the logs show when they are joined afterwards.
"""
