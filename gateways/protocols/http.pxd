import cython

from gateways.protocols cimport room
from gateways.protocols.base cimport Request
from gateways.protocols.forwarded cimport apply_forwarded
from gateways.protocols.http_head cimport Head, parse_fields, parse_request_line
from gateways.protocols.http_known cimport read_known, remember
from gateways.protocols.http_request cimport HTTPRequest, add_server, add_variables
from gateways.protocols.http_response cimport HTTPResponses

cdef int _ENDED
cdef Py_ssize_t _MAX_HELD


cdef class HTTP(HTTPResponses):
    cdef object _new_body
    cdef dict _base
    cdef readonly bytearray _held
    cdef Py_ssize_t _searched
    cdef bint _empty_line_seen
    cdef bint _deaf
    cdef bint _eof
    cdef Py_ssize_t _drained
    cdef bint _is_named
    cdef Py_ssize_t _max_fields
    cdef Py_ssize_t _small_head

    @cython.locals(own=HTTPRequest)
    cpdef list receive_data(self, bytes data)

    @cython.locals(own=HTTPRequest)
    cpdef phase(self)

    @cython.locals(own=HTTPRequest, size=Py_ssize_t)
    cdef _advance(self, list ready)

    @cython.locals(start=Py_ssize_t, end=Py_ssize_t, size=Py_ssize_t, limit=Py_ssize_t)
    cdef Py_ssize_t _find_head(self) except -1

    @cython.locals(own=HTTPRequest)
    cdef HTTPRequest _new_request(self)
    cdef _begin(self, HTTPRequest own, bytes data, error, list ready)

    @cython.locals(variables=dict)
    cdef _complete_variables(self, HTTPRequest own)

    @cython.locals(variables=dict, end=Py_ssize_t, head=Head, fields=list)
    cdef _read_closely(self, HTTPRequest own, bytes data)

    cdef _refuse(self, HTTPRequest own, error, list ready)
    cdef _run(self, HTTPRequest own, list ready)
    cdef bytes _receive_body(self, HTTPRequest own, bytes data, list ready)
    cdef _drain(self, HTTPRequest own, Py_ssize_t size)
    cdef _fail_body(self, HTTPRequest own, error)
    cdef _too_large(self, length)

    @cython.locals(own=HTTPRequest)
    cdef _peer_closed(self)

    @cython.locals(own=HTTPRequest)
    cdef _end_of_input(self)
