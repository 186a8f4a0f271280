import cython

from gateways.core.connection cimport Connection
from gateways.core.host cimport Host
from gateways.protocols.base cimport Request
from gateways.wsgi.runner cimport request_name, run_application


cdef class Worker:
    cdef Host _server
    cdef readonly object _thread
    cdef public object name
    cdef public int number
    cdef public Connection connection
    cdef public Request request
    cdef public bint accepting
    cdef public long long started
    cdef public long long served
    cdef public long long errors
    cdef public long long aborted
    cdef public long long sent

    cpdef work(self, timeout)

    @cython.locals(
        server=Host, connection=Connection, request=Request, accepted=Connection, requests=list,
    )
    cpdef step(self, timeout)

    @cython.locals(server=Host)
    cdef _serve(self, Connection connection, Request request)

    @cython.locals(server=Host)
    cdef _done(self, Connection connection, Request request)
    cpdef count(self, Request request)
    cdef _refuse(self, Connection connection, Request request)
