import cython

from gateways.core.clock cimport Clock
from gateways.core.gate cimport Gate
from gateways.core.poller cimport Poller
from gateways.core.recorder cimport Recorder
from gateways.protocols.base cimport Request
from gateways.wsgi.environ cimport EnvironBuilder


cdef class Host:
    cdef public object application
    cdef public object config
    cdef public bint debug
    cdef public bint is_timed
    cdef public long long max_requests_per_connection
    cdef public EnvironBuilder builder
    cdef public Py_ssize_t max_connections
    cdef public object run_request
    cdef public tuple observers
    cdef public Recorder recorder
    cdef public object threads
    cdef public Poller poller
    cdef public Clock clock
    cdef public Gate gate
    cdef public dict handlers
    cdef public set connections
    cdef public object ready
    cdef public bint draining
    cdef public bint parting
    cdef public bint stopping
    cdef public bint paused

    cpdef bint is_parting(self)

    cpdef bint adopt(self, connection, int fd) except -1

    cpdef forget(self, connection, int fd)

    @cython.locals(request=Request)
    cpdef enqueue(self, connection, list requests)

    cpdef pause_accepting(self, reason)
    cpdef resume_accepting(self)
