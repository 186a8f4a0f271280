import cython


cpdef bytes status_head(status, headers)
cpdef bytes status_line_head(version, status, headers)

@cython.locals(lines=list)
cdef bytes _head(first, headers)
