from gateways.protocols.head cimport status_head_lines
from gateways.protocols.oneshot cimport OneShot
from gateways.protocols.variables cimport decode_fields


cdef class Scgi(OneShot):
    cdef Py_ssize_t _prefix
    cdef Py_ssize_t _length
