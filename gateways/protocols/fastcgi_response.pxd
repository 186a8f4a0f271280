import cython

from gateways.protocols cimport framing
from gateways.protocols.base cimport Codec, FilePart, Request
from gateways.protocols.fastcgi_state cimport FastCGIRequest, FastCGISettings
from gateways.protocols.head cimport status_head, status_head_lines
from gateways.protocols.records cimport (
    pack_both, pack_file, pack_lines, pack_record, pack_stream, pack_trailer,
)

cdef int FCGI_STDOUT, FCGI_STDERR, _NOTHING, _HEAD, _BODY, _COMPLETE
cdef Py_ssize_t COPY_BELOW, _HELD_ERRORS


cdef class FastCGIResponses(Codec):
    cdef FastCGISettings _settings
    cdef dict _requests

    cdef _open_responses(self, FastCGISettings settings)

    cdef _send_held_errors(self, FastCGIRequest own)

    @cython.locals(own=FastCGIRequest)
    cpdef send_head(self, Request request, status, headers)

    @cython.locals(own=FastCGIRequest, head=bytes)
    cpdef send_body(self, Request request, chunk)

    @cython.locals(own=FastCGIRequest)
    cpdef send_errors(self, Request request, text)

    @cython.locals(own=FastCGIRequest, head=list, packed=bytes)
    cpdef respond(self, Request request, status, headers, body)

    @cython.locals(own=FastCGIRequest)
    cpdef abort(self, Request request)

    cdef _end(self, FastCGIRequest own, int app_status)
    cdef _ended(self, FastCGIRequest own)
    cdef _forget(self, FastCGIRequest own)

    @cython.locals(own=FastCGIRequest)
    cdef FastCGIRequest _own(self, Request request)
