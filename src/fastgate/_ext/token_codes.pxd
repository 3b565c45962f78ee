# What a scan of a token can end in. Codes start at 1; 0 is undecided and denies.
#
# Included by: token.pyx and its two readers, base64url.pxd and json_text.pxd.
# The order of the codes is the order of the checks: text, then JSON, then meaning.

cdef enum TokenCode:
    TOKEN_UNSET = 0
    TOKEN_OK = 1
    # The text of the token (RFC 7515 section 7.1).
    TOKEN_TOO_LARGE = 2
    TOKEN_NOT_THREE_PARTS = 3
    TOKEN_EMPTY_PART = 4
    TOKEN_BAD_LENGTH = 5
    TOKEN_BAD_ALPHABET = 6
    TOKEN_SPARE_BITS = 7
    # The JSON of header or claims (RFC 8259, RFC 7493).
    TOKEN_NOT_OBJECT = 8
    TOKEN_JSON_SYNTAX = 9
    TOKEN_JSON_TRUNCATED = 10
    TOKEN_TRAILING_DATA = 11
    TOKEN_BAD_NUMBER = 12
    TOKEN_BAD_ESCAPE = 13
    TOKEN_LONE_SURROGATE = 14
    TOKEN_CONTROL_CHARACTER = 15
    TOKEN_BAD_UTF8 = 16
    TOKEN_DUPLICATE_MEMBER = 17
    TOKEN_TOO_DEEP = 18
    TOKEN_TOO_MANY_MEMBERS = 19
    TOKEN_KEY_TOO_LONG = 20
    # The header (RFC 7515 section 4).
    TOKEN_MISSING_ALG = 21
    TOKEN_BAD_ALG = 22
    TOKEN_BAD_KID = 23
    TOKEN_BAD_TYP = 24
    TOKEN_BAD_CTY = 25
    TOKEN_NESTED = 26
    TOKEN_CRIT = 27
    TOKEN_B64 = 28
    TOKEN_ZIP = 29
    # The claims (RFC 7519 section 4).
    TOKEN_BAD_ISS = 30
    TOKEN_BAD_AUD = 31
    TOKEN_BAD_EXP = 32
    TOKEN_BAD_NBF = 33
    TOKEN_BAD_IAT = 34
    TOKEN_BAD_IDENTIFIER = 35
    TOKEN_BAD_SCOPE = 36
    TOKEN_BAD_REGION = 37
    TOKEN_BAD_STATUS = 38
