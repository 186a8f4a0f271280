import cython

from gateways.core.syscalls cimport send, send_vectors
from gateways.protocols.base cimport FilePart

cdef Py_ssize_t _JOIN_BELOW


cdef class SendQueue:
    cdef list _buffers
    cdef readonly Py_ssize_t size

    @cython.locals(size=Py_ssize_t, sent=Py_ssize_t)
    cdef send(self, int fd, list out)

    @cython.locals(offered=Py_ssize_t, sent=Py_ssize_t, count=Py_ssize_t)
    cdef bint _send_some(self, int fd) except -1

    cdef clear(self)

    @cython.locals(gone=Py_ssize_t)
    cdef _drop(self, Py_ssize_t sent)


@cython.locals(queue=SendQueue)
cpdef SendQueue new_queue()
