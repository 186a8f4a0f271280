import cython

from gateways.core.reception cimport Reception
from gateways.protocols.base cimport Request

cdef int READ_WRITE, WRITE


cdef class Connection(Reception):
    cdef list _errors

    cpdef send_head(self, Request request, status, headers)
    cpdef send_body(self, Request request, chunk)
    cpdef finish(self, Request request, chunk)
    cpdef abort(self, Request request)
    cpdef send_errors(self, Request request, text)

    @cython.locals(request=Request)
    cdef _hand_on_errors(self)

    cdef _ended(self, Request request)
    cdef _check(self, Request request)
    cdef _wait_to_write(self, Request request)
    cdef _end_overdue(self, Request request)
