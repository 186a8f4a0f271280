import cython

from gateways.core.connection cimport Connection


cdef class Acceptor:
    cdef object _new_codec
    cdef object _server
    cdef readonly object listener
    cdef object _family
    cdef object _access
    cdef object _refusals

    @cython.locals(connection=Connection)
    cpdef tuple accept(self)
