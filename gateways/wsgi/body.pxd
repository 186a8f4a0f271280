import cython


cdef class Body:
    cdef public object length
    cdef public long long received
    cdef public long long unread
    cdef public object refused
    cdef public bint is_busy
    cdef object _lock
    cdef object _wait
    cdef long long _memory
    cdef long long _spool
    cdef list _inbox
    cdef readonly object _file
    cdef long long _read_position
    cdef long long _write_position
    cdef bint _complete
    cdef object _error
    cdef list _taken
    cdef bytes _chunk
    cdef Py_ssize_t _offset

    cpdef feed(self, bytes data)
    cpdef end(self)
    cpdef fail(self, error)
    cdef _to_file(self, bytes data)
    cpdef close(self)

    @cython.locals(data=bytes)
    cdef bytes _buffered(self, Py_ssize_t size)

    cdef _part(self, Py_ssize_t size)
    cdef _skip(self, Py_ssize_t size)
    cdef bint _take(self) except -1

    @cython.locals(taken=list, piece=bytes)
    cdef bint _take_or_wait(self) except -1

    cdef bytes _from_file(self, file)
