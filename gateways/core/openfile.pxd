cdef bint _READ_AHEAD
cdef Py_ssize_t _COPIED


cdef class OpenFile:
    cdef int _fd
    cdef public object error

    cpdef bint reaches(self, long long offset, Py_ssize_t size) except -1
    cpdef Py_ssize_t send(self, int sock, long long offset, Py_ssize_t size) except -1
    cdef Py_ssize_t _copy(self, int sock, long long offset, Py_ssize_t size) except -1
