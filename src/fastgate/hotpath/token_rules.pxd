# C fields of token_rules.py, for plan.py and gate.py.


cdef class TokenRules:
    cdef frozenset types
    cdef frozenset algorithms
    cdef str issuer
    cdef long long leeway_s
    cdef long long max_lifetime_s
    cdef bint iat_required

    cpdef object refuse_header(self, object typ, str alg)
    cpdef object refuse_times(self, long long exp, long long nbf, long long iat, long long now_s)
    cpdef object refuse_claims(self, object iss, bint has_all_required, bint has_cnf)
