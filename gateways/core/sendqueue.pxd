import cython

from gateways.protocols.base cimport FilePart

cdef Py_ssize_t _JOIN_BELOW


cdef class SendQueue:
    cdef object _buffers
    cdef readonly Py_ssize_t size

    @cython.locals(size=Py_ssize_t, sent=Py_ssize_t, offered=Py_ssize_t, vectors=list)
    cdef send(self, int fd, list out)

    cdef clear(self)

    @cython.locals(sent=Py_ssize_t)
    cdef _send_at_once(self, int fd, data, Py_ssize_t size)

    @cython.locals(vectors=list)
    cdef list _vectors(self)

    cdef _drop(self, Py_ssize_t sent)
