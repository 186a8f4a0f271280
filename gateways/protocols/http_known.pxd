import cython

from gateways.protocols.familiar cimport Pair
from gateways.protocols.http_head cimport connection_options, split_host
from gateways.protocols.http_request cimport HTTPRequest, decoded_path, variable_name

cdef bytes _FORBIDDEN
cdef int _BLANK
cdef dict _METHODS, _FIELDS
cdef _Field _BEFORE_ALL


cdef class _Field:
    cdef bytes prefix
    cdef Py_ssize_t size
    cdef str key
    cdef _Field follower
    cdef Pair line
    cdef str last
    cdef bint is_secret


cpdef remember(list fields)

@cython.locals(
    variables=dict, text=str, value=str, position=Py_ssize_t, end=Py_ssize_t, last=Py_ssize_t,
    start=Py_ssize_t, line=Pair, count=Py_ssize_t, most=Py_ssize_t, field=_Field, expected=_Field,
)
cpdef bint read_known(HTTPRequest own, bytes data, Py_ssize_t max_fields) except -1

@cython.locals(line=bytes)
cdef bint _holds_forbidden(bytes data, Py_ssize_t start, Py_ssize_t end) except -1

@cython.locals(
    variables=dict, start=Py_ssize_t, middle=Py_ssize_t, method=str, version=str, target=str,
    path=str,
)
cdef bint _read_request_line(HTTPRequest own, str text, Py_ssize_t end) except -1

@cython.locals(colon=Py_ssize_t, field=_Field)
cdef _Field _find_field(bytes data, Py_ssize_t position, Py_ssize_t end, _Field before)

@cython.locals(host=str, options=str, tokens=tuple, length=str)
cdef bint _has_sense(HTTPRequest own, dict variables) except -1
