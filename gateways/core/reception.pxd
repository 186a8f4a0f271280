import cython

from gateways.core.host cimport Host
from gateways.core.syscalls cimport receive
from gateways.core.transport cimport Transport
from gateways.protocols.base cimport Codec, Request
from gateways.wsgi.body cimport Body

cdef int READ, READ_WRITE, WRITE
cdef dict FIRST_BYTES


cdef class Bodies:
    cdef Reception connection


cdef class Reception(Transport):
    cdef Host _server
    cdef object _protocol
    cdef object _plausible
    cdef Body _body
    cdef Bodies _bodies
    cdef readonly Codec codec
    cdef bint _is_timed
    cdef public Py_ssize_t running
    cdef public double head_since
    cdef public Py_ssize_t head_seen

    cdef _begin(self, Host server, int fd, address, new_codec, protocol)
    cpdef list on_event(self, int events)
    cpdef list on_accept(self)

    @cython.locals(requests=list)
    cdef list _bring_in(self, int events)

    cdef _give_up(self)
    cpdef watch(self)
    cdef bint _too_much_unread(self) except -1

    @cython.locals(data=bytes, requests=list, codec=Codec)
    cdef list _receive(self)

    @cython.locals(codec=Codec)
    cdef _settle(self)

    cdef bint _may_close(self) except -1
    cdef bint _is_fresh(self) except -1

    @cython.locals(requests=list)
    cdef _receive_here(self)

    cdef _flush(self)
    cdef _close_gently(self)
    cdef Body _new_body(self, length)
    cdef _let_go(self)
