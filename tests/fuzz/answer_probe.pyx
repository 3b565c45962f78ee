# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Door to the compiled reading of answer heads, which has none of its own for Python.

Owns:      nothing; built by the build named `fuzz` alone.
Called by: tests.fuzz.answers.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastgate._ext.http1_answer cimport Answer, find_answer_end, read_answer


def read(bytes head not None, list sizes not None):
    """Read a head that comes in parts, as an upstream connection does.

    sizes: How many bytes are there at each look, growing. Returns None where the head is refused,
    is not complete, or ends before the bytes do; else status, length, whether it is chunked, and
    pairs of names and values.
    """
    cdef Py_ssize_t size = len(head), seen = 0, there
    cdef int found = 0
    cdef Answer answer
    # Of exactly this size, so that a look past the end is caught.
    cdef uint8_t* p = <uint8_t*>malloc(size)
    if p == NULL:
        raise MemoryError
    memcpy(p, <const uint8_t*>head, size)
    try:
        for there in sizes:
            found = find_answer_end(p, there, &seen)
            if found:
                break
        if found != 1 or seen != size or not read_answer(p, size, &answer):
            return None
        return answer.status, answer.length, bool(answer.chunked), [
            (
                p[answer.fields[i].name:answer.fields[i].name + answer.fields[i].name_size],
                p[answer.fields[i].value:answer.fields[i].value + answer.fields[i].value_size],
            )
            for i in range(answer.count)
        ]
    finally:
        free(p)
