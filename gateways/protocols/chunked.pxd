cdef class ChunkedDecoder:
    cdef object _state
    cdef long long _left
    cdef bytes _line
    cdef Py_ssize_t _trailers

    cpdef tuple feed(self, bytes data)
    cdef Py_ssize_t _take_line(self, bytes data, Py_ssize_t position) except -1
    cdef _end_of_line(self, bytes line)
