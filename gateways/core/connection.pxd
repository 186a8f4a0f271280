import cython

from gateways.core.host cimport Host
from gateways.core.openfile cimport OpenFile
from gateways.core.reception cimport Reception
from gateways.protocols.base cimport FilePart, Request

cdef int READ_WRITE, WRITE
cdef Py_ssize_t _LEAST_PART, _LONGEST_PART


cdef class Connection(Reception):
    cdef list _errors

    @cython.locals(own=Request)
    cpdef note_running(self, request, response)

    @cython.locals(own=Request)
    cpdef send_head(self, request, status, headers)

    @cython.locals(own=Request)
    cpdef send_body(self, request, chunk)

    @cython.locals(sent=cython.longlong, file=OpenFile, part=FilePart, own=Request)
    cpdef long long send_file(self, request, int fd, long long offset, long long size) except -1

    @cython.locals(own=Request)
    cpdef finish(self, request, chunk)

    @cython.locals(own=Request)
    cpdef respond(self, request, status, headers, chunk)

    @cython.locals(own=Request)
    cpdef abort(self, request)

    cpdef send_errors(self, request, text)

    @cython.locals(request=Request)
    cdef _hand_on_errors(self)

    cdef _ended(self, Request request)
    cdef _check(self, Request request)
    cdef _wait_to_write(self, Request request, Py_ssize_t limit)
    cdef _end_overdue(self, Request request)


@cython.locals(connection=Connection)
cpdef Connection new_connection(Host server, int fd, address, new_codec, protocol)
