import cython

from gateways.protocols.base cimport Request

cdef int _PARAMS, _NOTHING


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
