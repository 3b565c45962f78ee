# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Probe: the scanners of the compiled lane on bytes alone, without a connection.

Owns:      nothing.
Called by: tests and fuzz targets; no request comes here.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t
from libc.string cimport memset

from fastgate._ext.http1_answer cimport Answer, find_answer_end, read_answer
from fastgate._ext.http1_chunks cimport (
    STEP_DATA,
    STEP_END,
    STEP_MORE,
    Chunks,
    begin_chunks,
    next_chunk,
)
from fastgate._ext.http1_scan cimport Head, Limits, Search, find_end, read_early, read_head


def request(list pieces not None, *, Py_ssize_t line=8192, Py_ssize_t field=8192,
            Py_ssize_t head=32768, Py_ssize_t count=100):
    cdef Limits limits
    cdef Search search
    cdef Head read
    cdef bytes data = b""
    cdef const uint8_t* p
    cdef int found = 0, fault = 0
    limits.request_line, limits.header_line = line, field
    limits.head, limits.count = head, count
    memset(&search, 0, sizeof(search))
    for piece in pieces:
        data += piece
        p = <const uint8_t*>PyBytes_AS_STRING(data)
        found = find_end(p, len(data), &search, &limits)
        fault = -found if found < 0 else 0
        if found == 0:
            fault = read_early(p, &search, &read)
        if found or fault:
            break
    if fault == 0 and found:
        fault = read_head(p, search.at, &read)
    if fault or not found:
        return fault, 0, False, -1, False
    return 0, search.at, read.plain, read.length, read.chunked


def answer(bytes data not None):
    cdef Answer read
    cdef Py_ssize_t seen = 0
    cdef const uint8_t* p = <const uint8_t*>PyBytes_AS_STRING(data)
    if find_answer_end(p, len(data), &seen) != 1 or not read_answer(p, seen, &read):
        return None
    return read.status, read.length, seen


def chunks(list pieces not None):
    cdef Chunks state
    cdef Py_ssize_t at = 0, start = 0, total = 0
    cdef bytes body = b""
    cdef int step = STEP_MORE
    begin_chunks(&state)
    for piece in pieces:
        at = 0
        while True:
            step = next_chunk(&state, <const uint8_t*>PyBytes_AS_STRING(piece), len(piece), &at,
                              &start)
            if step != STEP_DATA:
                break
            body += piece[start:at]
        total += at
        if step != STEP_MORE:
            break
    if step == STEP_END:
        return body, total
    return None if step == STEP_MORE else False
