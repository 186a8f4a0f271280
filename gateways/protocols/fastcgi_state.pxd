import cython

from gateways.protocols.base cimport Request
from gateways.protocols.limits cimport RequestLimits

cdef int _PARAMS, _NOTHING


cdef class FastCGISettings(RequestLimits):
    cdef readonly dict values
    cdef readonly frozenset roles
    cdef readonly bint multiplex
    cdef readonly Py_ssize_t max_active
    cdef readonly object draining


cdef class FastCGIRequest(Request):
    cdef public object codec
    cdef public int id
    cdef public int role
    cdef public int receiving
    cdef public int sending
    cdef public list params
    cdef public Py_ssize_t params_size
    cdef public long long received
    cdef public bint data_ended
    cdef public bint running
    cdef public bytes head
    cdef public bytes errors_held
    cdef public bint errors_sent

    cpdef set_up(self)


@cython.locals(request=FastCGIRequest)
cpdef FastCGIRequest new_request(codec, int request_id, int role)
