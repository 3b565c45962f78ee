"""Redis Streams as a bus: `bus` is the port, `link` the connections it stands on."""
