"""Every request: the gate, the relay, header rules, OAuth message routing."""
