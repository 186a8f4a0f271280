import cython

from gateways.protocols.head cimport status_line_head_lines
from gateways.protocols.oneshot cimport OneShot
from gateways.protocols.variables cimport decode_vars

cdef Py_ssize_t _HEADER_SIZE


cdef class Uwsgi(OneShot):
    cdef object _protocol

    @cython.locals(modifier2=int)
    cpdef Py_ssize_t _head_size(self, bytes data) except -1

    @cython.locals(variables=dict)
    cpdef dict _read_head(self, bytes head)


cdef _strip_script_name(dict variables)
