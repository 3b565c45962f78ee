"""Every few seconds: supervisor, agent, keyring, introspection, revocation feed."""
