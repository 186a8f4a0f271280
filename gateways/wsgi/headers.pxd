import cython



cdef class _Kind:
    cdef readonly bint is_length
    cdef readonly bint is_secret
    cdef public str last


@cython.locals(statuses=dict)
cpdef int check_status(status) except -1

@cython.locals(kinds=dict, lengths=dict, kind=_Kind, text=str)
cpdef check_headers(headers)

cdef _Kind _classify(name)
