cdef class Clock:
    cdef public double now
    cdef public long long tick
    cdef public bint parked
    cdef bint _closed
    cdef object _lock
    cdef int _wake_read
    cdef int _wake_write
