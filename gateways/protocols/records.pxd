import cython

from gateways.protocols cimport framing
from gateways.protocols.base cimport FilePart

cdef tuple _TRAILERS
cdef int _KNOWN_TRAILERS
cdef tuple _PADDINGS
cdef Py_ssize_t _LONGEST_ALIGNED, _LONGEST_PAGES, _LOG_LINE, _SHORT_REST

cpdef bytes pack_record(int record_type, int request_id, content=*)

@cython.locals(
    length=Py_ssize_t, position=Py_ssize_t, rest=Py_ssize_t, padding=Py_ssize_t, header=bytes,
)
cpdef pack_stream(int record_type, int request_id, data, list out)

@cython.locals(length=Py_ssize_t, padding=Py_ssize_t)
cpdef pack_both(int record_type, int request_id, bytes first, bytes second, list out)

@cython.locals(start=Py_ssize_t, content=FilePart)
cpdef pack_file(int record_type, int request_id, FilePart part, list out)

cpdef pack_lines(int record_type, int request_id, bytes data, list out)
cpdef bytes pack_end_request(int request_id, unsigned int app_status, int protocol_status)
cpdef bytes pack_trailer(int request_id, unsigned int app_status)
cdef bytes _pack_trailer(int request_id, unsigned int app_status)
cpdef bytes pack_unknown_type(int record_type)
