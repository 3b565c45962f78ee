"""Oracle of `_ext/revocations`: a dict, a list of times, and the rules in plain words.

No arena, no generation, no clean-up: none of these may change an answer.
"""

CLEAR, REVOKED, STALE_HOME, STALE_GLOBAL = 1, 2, 3, 4
INSERTED, MERGED, OVER = 1, 2, 4
ALWAYS = 0xFFFFFFFF
ONE_SECOND_NS = 10**9


class Revocations:
    def __init__(self, origins):
        self.entries = {}
        self.evidence = [0] * origins
        self.now_s = 0

    def maintain(self, now_s):
        self.now_s = now_s

    def insert(self, key, cutoff, expiry):
        if expiry == 0:
            return OVER
        held = self._held(key)
        if held is None:
            self.entries[key] = (cutoff, expiry)
            return INSERTED
        self.entries[key] = (max(held[0], cutoff), max(held[1], expiry))
        return MERGED

    def remove(self, key):
        held = self._held(key)
        self.entries.pop(key, None)
        return held is not None

    def set_origins(self, count):
        kept = self.evidence[:count]
        self.evidence = kept + [0] * (count - len(kept))

    def set_evidence(self, origin, boot_ns):
        self.evidence[origin] = boot_ns

    def check(
        self,
        keys,
        iat,
        now_s,
        now_boot_ns,
        home,
        max_age_ns,
        issuer_home,
        issuer_max_age_ns,
    ):
        for index in range(len(keys) // 16):
            entry = self.entries.get(keys[16 * index : 16 * index + 16])
            if entry is not None and now_s < entry[1]:
                cutoff = entry[0]
                if cutoff == ALWAYS or iat <= cutoff:
                    return REVOKED + (index << 8)
        if not self._fresh(home, now_boot_ns, max_age_ns):
            return STALE_HOME
        if not self._fresh(issuer_home, now_boot_ns, issuer_max_age_ns):
            return STALE_GLOBAL
        return CLEAR

    def live(self, now_s):
        return {key: entry for key, entry in self.entries.items() if now_s < entry[1]}

    def _held(self, key):
        entry = self.entries.get(key)
        return entry if entry is not None and self.now_s < entry[1] else None

    def _fresh(self, origin, now_ns, max_age_ns):
        if now_ns < 0 or max_age_ns < 0:
            return False
        if origin == -1:
            rows = self.evidence
        elif 0 <= origin < len(self.evidence):
            rows = [self.evidence[origin]]
        else:
            return False
        return all(
            row > 0 and now_ns - row <= max_age_ns and row - now_ns <= ONE_SECOND_NS
            for row in rows
        )
