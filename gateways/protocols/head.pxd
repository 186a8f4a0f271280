import cython

cdef dict _lines, _fields, _status_lines
cdef int _CHANGES_ALL_THE_TIME


cdef class _Line:
    cdef readonly str value
    cdef readonly bytes raw
    cdef readonly int changes


cdef class _Field:
    cdef readonly bytes raw
    cdef readonly bint is_last


cpdef bytes status_head(status, list headers)

@cython.locals(field=_Field, lines=list)
cpdef list status_head_lines(status, list headers)

cpdef bytes status_line_head(version, status, list headers)

@cython.locals(known=dict, line=bytes, lines=list)
cpdef list status_line_head_lines(version, status, list headers)

@cython.locals(line=_Line)
cpdef bytes header_line(name, value)

@cython.locals(raw=bytes)
cdef bytes _another_line(name, value, _Line last)

cdef _remember_line(name, value, bytes raw, int changes)
