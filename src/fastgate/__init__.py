"""fastgate: a regional OAuth gateway.

The map of the rooms, in the order a request meets them. Start at `hotpath/gate.py`: it
holds the one order of checks, and after it the rest is detail.

domain/    what is true: tokens, regions, routes, revocations, verdicts. Pure.
_ext/      compiled loops: bytes in, codes out. Imports nothing of fastgate.
hotpath/   every request: the gate, the relay, the header rules, OAuth messages.
control/   every few seconds: supervisor, agent, keyring, introspection, the feed.
config/    what the operator wrote, checked and compiled into a snapshot.
adapters/  the outside world, one technology a file, each behind a port.
admin/     the admin API. authz/ is the drop-in tier over the same gate.
demo/      three regions on loopback and a guided tour. cli/ is one file a verb.
ports.py   the interfaces between rooms; wiring/ builds objects; errors.py names faults.
"""

__version__ = "0.1.0"
