"""Kafka as a bus: `bus` is the port, `link` the clients that it stands on."""
