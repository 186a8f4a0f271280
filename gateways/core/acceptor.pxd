import cython

from gateways.core.connection cimport Connection


cdef class Acceptor:
    cdef object _new_codec
    cdef object _server
    cdef readonly object listener
    cdef object _family
    cdef object _access
    cdef object _refusals

    cpdef tuple accept(self)

    @cython.locals(connection=Connection)
    cpdef tuple take(self, int fd, address)
