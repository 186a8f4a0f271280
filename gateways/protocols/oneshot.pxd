import cython

from gateways.protocols.base cimport Codec, Request
from gateways.protocols.limits cimport RequestLimits
from gateways.protocols.variables cimport content_length

cdef int _HEAD, _BODY, _COMPLETE, _IGNORED
cdef int _NOTHING_SENT, _HEAD_SET, _BODY_SENT, _ENDED
cdef Py_ssize_t _COPY_BELOW


cdef class OneShot(Codec):
    cdef object _new_body
    cdef RequestLimits _settings
    cdef int _receiving
    cdef int _sending
    cdef Request _request
    cdef bint _running
    cdef list _held
    cdef Py_ssize_t _held_size
    cdef Py_ssize_t _needed
    cdef long long _body_left
    cdef long long _received
    cdef bytes _response_head

    cdef _open_oneshot(self, RequestLimits settings, new_body)

    cpdef Py_ssize_t _head_size(self, bytes data) except -1
    cpdef dict _read_head(self, bytes head)
    cpdef list _head_lines(self, status, headers)

    @cython.locals(pieces=list)
    cpdef respond(self, Request request, status, headers, body)

    cpdef list receive_data(self, bytes data)

    @cython.locals(request=Request)
    cdef list _begin(self, bytes head, bytes rest)

    cdef _check_length(self, long long length)

    @cython.locals(request=Request)
    cdef list _receive_body(self, bytes data)

    cdef list _run(self, Request request)

    @cython.locals(request=Request)
    cdef _peer_closed(self)

    cdef _forget(self)
    cdef Request _own(self, Request request)
