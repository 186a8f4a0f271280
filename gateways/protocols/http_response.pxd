import cython

from gateways.protocols.base cimport Codec, Request
from gateways.protocols.http_request cimport HTTPRequest

cdef int _NOTHING, _HEAD, _BODY, _ENDED
cdef Py_ssize_t _SMALL


cdef class HTTPResponses(Codec):
    cdef object _settings
    cdef str _server
    cdef HTTPRequest _current

    @cython.locals(own=HTTPRequest, code=str)
    cpdef send_head(self, Request request, status, headers)

    @cython.locals(own=HTTPRequest)
    cpdef send_body(self, Request request, chunk)

    @cython.locals(own=HTTPRequest)
    cpdef body_wanted(self)

    @cython.locals(own=HTTPRequest)
    cpdef end(self, Request request)

    @cython.locals(own=HTTPRequest)
    cpdef abort(self, Request request)

    cpdef _stop(self)
    cdef _forget(self, HTTPRequest own)
    cdef bint _can_drain(self, HTTPRequest own) except -1

    @cython.locals(
        head=list, code=str, lower=str, length=str, name=str, value=str, letters=Py_ssize_t,
        has_date=bint, has_server=bint, is_empty=bint, bodyless=bint, is_all=bint,
    )
    cdef bytes _head(self, HTTPRequest own, Py_ssize_t size, bint is_last)

    cdef _append(self, bytes head, chunk, bint is_chunked)

    @cython.locals(own=HTTPRequest)
    cdef HTTPRequest _own(self, Request request)
