import cython

from gateways.protocols.fastcgi_response cimport FastCGIResponses
from gateways.protocols.fastcgi_state cimport FastCGIRequest, FastCGISettings

cdef int FCGI_DATA, FCGI_FILTER, FCGI_STDIN
cdef int _PARAMS, _STDIN, _DATA, _COMPLETE, _IGNORED
cdef Py_ssize_t _LEAST_PIECE


cdef class FastCGIBodies(FastCGIResponses):
    cdef object _new_body
    cdef int _rest_id
    cdef Py_ssize_t _rest
    cdef Py_ssize_t _rest_padding

    cdef _open_bodies(self, FastCGISettings settings, new_body)

    @cython.locals(come=Py_ssize_t)
    cdef bint _hand_on(
        self, FastCGIRequest request, bytes data, Py_ssize_t start, Py_ssize_t length,
        Py_ssize_t padding, list ready,
    ) except -1

    @cython.locals(
        content=Py_ssize_t, padding=Py_ssize_t, request=FastCGIRequest, piece=bytes,
    )
    cdef Py_ssize_t _take_rest(self, bytes data, Py_ssize_t end, list ready) except -1

    cdef _body(self, FastCGIRequest request, int record_type, bytes content, list ready)
    cdef _data(self, FastCGIRequest request, bytes content)
    cdef _data_sink(self, FastCGIRequest request)
    cdef _open_streams(self, FastCGIRequest request)
    cdef _too_large(self, length)
    cdef _refuse(self, FastCGIRequest request, error, list ready)
    cdef _fail_streams(self, FastCGIRequest request, reason)
