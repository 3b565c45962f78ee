"""Upstream connections over aiohttp's client protocol; `pool` lends them."""
