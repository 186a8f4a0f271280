import cython

from gateways.core.acceptor cimport Acceptor
from gateways.core.connection cimport Connection
from gateways.protocols.base cimport Request
from gateways.wsgi.runner cimport request_name


cdef class Worker:
    cdef object _server
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
        connection=Connection, request=Request, accepted=Connection, requests=list,
        connected=Connection, acceptor=Acceptor,
    )
    cpdef step(self, timeout)

    cdef _serve(self, Connection connection, Request request)
    cdef _done(self, Connection connection, Request request)
    cpdef count(self, Request request)
    cdef _refuse(self, Connection connection, Request request)
