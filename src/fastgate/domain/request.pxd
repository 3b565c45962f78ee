# C fields of request.py, for hotpath.gate, which reads them on every request.


cdef class RequestHead:
    cdef public str method
    cdef public str path
    cdef public bytes authorization
    cdef public int credentials
    cdef public str cookie
    cdef public bytes query
    cdef public object form
    cdef public str content_type
    cdef public bint has_body
    cdef public bint encoded_separators
    cdef public str peer


cpdef RequestHead plain_head(str method, str path, bytes query, int credentials,
                             bytes authorization, str cookie, str content_type, bint has_body,
                             str peer)
