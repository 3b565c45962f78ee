# C fields of decision.py, for hotpath.gate, which writes them on every request.


cdef class Decision:
    cdef public object verdict
    cdef public object reason
    cdef public object route
    cdef public object facts
    cdef public bytes token
    cdef public int region
    cdef public object source
    cdef public object conflict
    cdef public bint repair_cookie
    cdef public str cache
    cdef public str kind
    cdef public long long age_ms
    cdef public long long decided_boot_ns
    cdef public bint stale_question
    cdef public bytes credential
    cdef public str ask_kid
    cdef public tuple failed_keys
