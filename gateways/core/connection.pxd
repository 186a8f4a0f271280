import cython

from gateways.core.openfile cimport OpenFile
from gateways.core.reception cimport Reception
from gateways.protocols.base cimport FilePart, Request

cdef int READ_WRITE, WRITE
cdef Py_ssize_t _LEAST_PART, _LONGEST_PART


cdef class Connection(Reception):
    cdef list _errors

    cpdef send_head(self, Request request, status, headers)
    cpdef send_body(self, Request request, chunk)
    @cython.locals(sent=cython.longlong, file=OpenFile, part=FilePart)
    cpdef send_file(self, Request request, int fd, long long offset, long long size)

    cpdef finish(self, Request request, chunk)
    cpdef abort(self, Request request)
    cpdef send_errors(self, Request request, text)

    @cython.locals(request=Request)
    cdef _hand_on_errors(self)

    cdef _ended(self, Request request)
    cdef _check(self, Request request)
    cdef _wait_to_write(self, Request request, Py_ssize_t limit)
    cdef _end_overdue(self, Request request)
