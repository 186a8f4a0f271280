import cython

cdef int _ORDINARY, _CONTENT_LENGTH


cpdef check_status(status)

@cython.locals(kinds=dict, text=str)
cpdef check_headers(headers)

cdef _classify(name)
