from gateways.protocols.head cimport status_line_head
from gateways.protocols.oneshot cimport OneShot
from gateways.protocols.variables cimport decode_vars


cdef class Uwsgi(OneShot):
    cdef object _protocol


cdef _strip_script_name(dict variables)
