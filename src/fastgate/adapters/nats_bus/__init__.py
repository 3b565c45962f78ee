"""NATS JetStream as a bus: `bus` is the port, `link` the connection it stands on."""
