cpdef bytes status_head(status, headers)
cpdef bytes status_line_head(version, status, headers)
cdef bytes _head(list parts, headers)
