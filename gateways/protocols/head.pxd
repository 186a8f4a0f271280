import cython

cdef dict _lines, _fields, _status_lines
cdef int _CHANGES_ALL_THE_TIME


cdef class _Line:
    cdef readonly str value
    cdef readonly bytes raw
    cdef readonly int changes


@cython.locals(field=bytes)
cpdef bytes status_head(status, headers)

@cython.locals(known=dict, line=bytes)
cpdef bytes status_line_head(version, status, headers)

@cython.locals(line=_Line)
cpdef bytes header_line(name, value)

@cython.locals(raw=bytes)
cdef bytes _another_line(name, value, _Line last)

cdef _remember_line(name, value, bytes raw, int changes)

@cython.locals(raw=bytes)
cdef bytes _remember(dict known, status, str text)

@cython.locals(lines=list)
cdef bytes _head(bytes first, headers, bytes last)
