import cython


cdef dict _kinds, _statuses


cdef class _Kind:
    cdef readonly bint is_length
    cdef readonly bint is_secret
    cdef public str last


cpdef int check_status(status) except -1

@cython.locals(kinds=dict, kind=_Kind, text=str, item=tuple)
cpdef check_headers(headers)

cdef _Kind _classify(name)
