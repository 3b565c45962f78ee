"""The latency-budget suite: measures every stage, compares gateways, gates CI.

Owns:      nothing at import time.
Called by: fastgate.cli.bench, and nobody else in fastgate.

Read in this order:

- `figures`, `budget`, `charts`: what a run yields, and what it is held against
- `plan`, `loader`, `connection`, `pacer`: the open-loop load generator, a process of
  its own; `generator` starts it and judges whether it was the bottleneck
- `machine`: where it runs, and what it says a process has used
- `stand_ins`, `tokens`, `origin`, `gateways`: an upstream, tokens, and what is between
- `decision`, `relay`, `revocation`, `peers`: the benches, one file (or folder) each
- `window`: three regions under faults, and the worst window of a revoked token
- `suite` runs one by name; `report` and `svg` write what it found
"""

__all__ = ["NAMES"]

# Name of each bench, and what it measures.
NAMES = {
    "decision": "Stages of the gate in one process: scan, hash, seen, never seen.",
    "relay": "Requests end to end through a gateway, against the direct call.",
    "revocation": "Look-ups against entries; revoke until refused; apply rate.",
    "peers": "CPU per request beside HAProxy, nginx and Envoy.",
    "window": "How long a revoked token still works, in every fault.",
}
