import cython

from gateways.protocols.base cimport FilePart

cdef dict _TRAILERS
cdef int _MANY_TRAILERS
cdef tuple _PADDINGS
cdef object _pack_header
cdef Py_ssize_t _LONGEST_ALIGNED, _LONGEST_PAGES, _LOG_LINE, _SHORT_REST

cpdef bytes pack_record(int record_type, int request_id, content=*)

@cython.locals(length=Py_ssize_t, position=Py_ssize_t, rest=Py_ssize_t, padding=Py_ssize_t)
cpdef pack_stream(int record_type, int request_id, data, list out)

@cython.locals(padding=Py_ssize_t)
cpdef pack_pieces(int record_type, int request_id, list pieces, Py_ssize_t length, list out)

@cython.locals(start=Py_ssize_t, content=FilePart)
cpdef pack_file(int record_type, int request_id, FilePart part, list out)

cpdef pack_lines(int record_type, int request_id, bytes data, list out)
cpdef bytes pack_end_request(int request_id, unsigned int app_status, int protocol_status)
@cython.locals(trailer=bytes)
cpdef bytes pack_trailer(int request_id, unsigned int app_status)
cdef bytes _pack_trailer(int request_id, unsigned int app_status)
cpdef bytes pack_unknown_type(int record_type)
