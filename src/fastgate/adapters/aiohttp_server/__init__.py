"""General lane: aiohttp's server protocol in front of the relay; `lane` starts it."""
