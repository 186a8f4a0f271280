from cpython.pythread cimport PyThread_type_lock


cdef class Lock:
    cdef PyThread_type_lock _lock

    cpdef bint acquire(self) except -1
    cdef _wait(self)
    cpdef release(self)


cpdef Lock new_lock()
cpdef when_held(wait)
cpdef tuple accept(listening, int number)
cpdef bytes receive(int fd)
cpdef Py_ssize_t send(int fd, data) except -1
cpdef Py_ssize_t send_vectors(int fd, list buffers, Py_ssize_t count) except -1
cpdef int shutdown(int fd, int how) except -1
cpdef int close(int fd) except -1
cpdef tuple next_event(epoll, int number, double timeout, others)
cpdef int wait_for_one(int fd, int events, double timeout) except -1
cpdef int rearm(epoll, int number, int fd, unsigned int events) except -1
cpdef bint prctl(int option, value)
