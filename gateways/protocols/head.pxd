import cython


@cython.locals(head=str)
cpdef bytes status_head(status, headers)

@cython.locals(head=str)
cpdef bytes status_line_head(version, status, headers)
