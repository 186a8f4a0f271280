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
cpdef parse_fields(Head head, bytes block, Py_ssize_t max_fields)
cdef bint _is_clean(bytes block) except -1
cdef dict _joined(list fields)
cdef _framing(Head head, dict values)
cdef _connection(Head head)
