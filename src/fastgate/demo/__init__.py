"""Three regions on loopback with an identity provider, upstreams and a tour."""
