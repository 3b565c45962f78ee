"""Native: the one door into the compiled modules.

Owns:      the check that they are there and of this version, and code -> reason.
Called by: hotpath and wiring; nobody else in hotpath imports `_ext`.

There is no fall-back: a gateway that silently ran a slow twin would miss its budgets,
and one more implementation would have to be trusted.
"""

from fastgate.domain.verdict import Reason
from fastgate.errors import StartError

try:
    from fastgate._ext import token as _token
except ImportError as missing:
    raise StartError(
        "the compiled modules of fastgate are missing: install a wheel, or build them "
        "with `pip install .` (needs gcc and the Python headers)"
    ) from missing

__all__ = [
    "TOKEN_NOT_THREE_PARTS",
    "TOKEN_OK",
    "TOKEN_REASONS",
    "ClaimNames",
    "TokenScan",
    "der_signature",
    "scan",
    "scan_json",
    "scan_unverified",
]

ClaimNames = _token.ClaimNames
TokenScan = _token.TokenScan
scan = _token.scan
scan_json = _token.scan_json
scan_unverified = _token.scan_unverified
der_signature = _token.der_signature

TOKEN_OK = 1
TOKEN_NOT_THREE_PARTS: int = next(
    code for code, name in _token.CODES.items() if name == "not_three_parts"
)

# Codes that say more than "malformed"; the rest are all the same to a client.
_BY_NAME = {
    "too_large": Reason.TOO_LARGE,
    "bad_alg": Reason.BAD_ALG,
    "missing_alg": Reason.BAD_ALG,
    "bad_typ": Reason.BAD_TYP,
    "nested": Reason.BAD_TYP,
    "crit": Reason.CRIT,
    "b64": Reason.CRIT,
    "zip": Reason.CRIT,
    "bad_iss": Reason.BAD_ISS,
    "bad_aud": Reason.BAD_AUD,
}
TOKEN_REASONS: dict[int, Reason] = {
    code: _BY_NAME.get(name, Reason.MALFORMED)
    for code, name in _token.CODES.items()
    if code != TOKEN_OK
}
