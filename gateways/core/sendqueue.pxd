import cython

from gateways.core.syscalls cimport send

cdef Py_ssize_t _JOIN_BELOW


cdef class SendQueue:
    cdef object _buffers
    cdef readonly Py_ssize_t size

    @cython.locals(size=Py_ssize_t)
    cdef send(self, int fd, list out)

    cdef clear(self)

    @cython.locals(sent=Py_ssize_t)
    cdef _send_at_once(self, int fd, data, Py_ssize_t size)

    cdef _drop(self, Py_ssize_t sent)
