from gateways.protocols.base cimport Request
from gateways.protocols.http_head cimport Head, split_host

cdef int _NOTHING
cdef dict _KEYS


cdef class HTTPRequest(Request):
    cdef public int minor
    cdef public bint is_head
    cdef public bint keep_alive
    cdef public bint expects_continue
    cdef public bint running
    cdef public long long received
    cdef public long long body_left
    cdef public object decoder
    cdef public int sending
    cdef public str code
    cdef public object fields
    cdef public bint is_chunked_response
    cdef public bint is_bodyless_response

    cpdef bint is_complete(self) except -1

    cpdef take_head(self, Head head)


cpdef add_variables(dict variables, Head head)
cdef _add_target(dict variables, Head head)
cpdef str decoded_path(str path)
cpdef str variable_name(str name)
cpdef add_server(dict variables, str scheme)
