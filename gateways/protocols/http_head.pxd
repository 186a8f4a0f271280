import cython

cdef int _BLANK, _TAB
cdef dict _NAMES, _HOSTS, _OPTIONS


cdef class Head:
    cdef public str method
    cdef public str target
    cdef public int minor
    cdef public dict values
    cdef public object content_length
    cdef public bint keep_alive
    cdef public bint expects_continue


cdef class _Collector:
    cdef list fields

    cpdef on_header(self, bytes name, bytes value)


cpdef split_host(str host)
cpdef Head parse_request_line(bytes line)
cpdef list parse_fields(Head head, bytes block, Py_ssize_t max_fields)

@cython.locals(lines=list, line=bytes, text=bytes)
cdef bint _is_clean(bytes block) except -1

@cython.locals(values=dict, raw_name=bytes, raw_value=bytes, name=str, value=str)
cdef dict _joined(list fields)

cdef str _new_name(bytes raw)
cdef _framing(Head head, dict values)

@cython.locals(options=str, tokens=tuple)
cdef _connection(Head head)

cpdef tuple connection_options(str field)

@cython.locals(count=int, name=bytes)
cdef _host(Head head, list fields)
