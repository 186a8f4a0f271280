import cython

from gateways.core.connection cimport Connection, new_connection
from gateways.core.host cimport Host
from gateways.core.syscalls cimport accept


cdef class Acceptor:
    cdef object _new_codec
    cdef Host _server
    cdef readonly object listener
    cdef object _family
    cdef object _access
    cdef bint _is_open_to_all
    cdef object _protocol
    cdef object _socket
    cdef object _refusals

    @cython.locals(accepted=tuple)
    cpdef tuple accept(self)

    @cython.locals(connection=Connection)
    cpdef tuple take(self, int fd, address)
