"""Answers for other proxies over the same gate."""
