"""Answers for other proxies over the same gate; no dialect is served yet."""
