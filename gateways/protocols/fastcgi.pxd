import cython

from gateways.protocols cimport framing
from gateways.protocols.base cimport Request
from gateways.protocols.familiar cimport Names
from gateways.protocols.fastcgi_bodies cimport FastCGIBodies
from gateways.protocols.fastcgi_state cimport FastCGIRequest, new_request
from gateways.protocols.records cimport pack_end_request, pack_record, pack_unknown_type
from gateways.protocols.variables cimport content_length, decode_pairs

cdef int FCGI_ABORT_REQUEST, FCGI_BEGIN_REQUEST, FCGI_CANT_MPX_CONN, FCGI_DATA, FCGI_FILTER
cdef int FCGI_GET_VALUES, FCGI_GET_VALUES_RESULT, FCGI_HEADER_LEN, FCGI_KEEP_CONN
cdef int FCGI_NULL_REQUEST_ID, FCGI_PARAMS, FCGI_REQUEST_COMPLETE, FCGI_RESPONDER
cdef int FCGI_STDIN, FCGI_UNKNOWN_ROLE, FCGI_UNKNOWN_TYPE, FCGI_VERSION_1
cdef int NEVER
cdef bytes NEXT
cdef bytes USUAL_BEGINNING, USUAL_KEPT_BEGINNING
cdef bytes USUAL_END, USUAL_END_OF_PARAMS
cdef Py_ssize_t _USUAL_HEADER, _USUAL_PARAMS
cdef int _PARAMS, _STDIN, _DATA, _COMPLETE, _IGNORED


cdef class FastCGI(FastCGIBodies):
    cdef list _held
    cdef Py_ssize_t _held_size
    cdef Py_ssize_t _needed

    @cython.locals(
        ready=list, requests=dict, position=Py_ssize_t, end=Py_ssize_t, version=int,
        record_type=int, request_id=int, length=Py_ssize_t, state=int,
        content=Py_ssize_t, next_record=Py_ssize_t, request=FastCGIRequest,
        role=int, padding=int, piece=bytes, runnable=FastCGIRequest,
    )
    cpdef list receive_data(self, bytes data)

    @cython.locals(
        request=FastCGIRequest, length=Py_ssize_t, position=Py_ssize_t, limit=Py_ssize_t,
        is_whole=bint,
    )
    cdef Py_ssize_t _take_usual(self, bytes data, Py_ssize_t end, list ready) except -1

    @cython.locals(request=FastCGIRequest)
    cpdef phase(self)

    cdef bint _is_amid_a_record(self)
    cdef _unrequested(self, int record_type, int request_id, bytes content, bint is_active)

    @cython.locals(request=FastCGIRequest)
    cdef FastCGIRequest _begin(self, int request_id, int role, int flags, list ready)

    cdef _reject(self, int request_id, int protocol_status)

    @cython.locals(most=Py_ssize_t, names=Names)
    cdef _variables(
        self, FastCGIRequest request, bytes data, Py_ssize_t start, Py_ssize_t end, list ready,
    )
    cdef _params(self, FastCGIRequest request, bytes content, list ready)

    cdef _unexpected(self, int record_type, FastCGIRequest request)
    cdef _abort_requested(self, FastCGIRequest request)

    @cython.locals(request=FastCGIRequest)
    cdef _peer_closed(self)
