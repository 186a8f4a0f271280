cdef class Gate:
    cdef public bint narrow
    cdef readonly object _leader
    cdef object _changed
    cdef long long _wide_until
    cdef readonly bint _possible

    cpdef enter(self)
    cpdef open(self)
