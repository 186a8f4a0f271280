cdef class FilePart:
    cdef readonly object file
    cdef readonly long long offset
    cdef readonly Py_ssize_t size

    cpdef FilePart part(self, Py_ssize_t start, Py_ssize_t end)


cdef class Request:
    cdef public dict variables
    cdef public object content_length
    cdef public object body
    cdef public object data
    cdef public object refusal
    cdef public bint aborted
    cdef public bint ended
    cdef public object status
    cdef public long long sent
    cdef public bint failed
    cdef public object overdue
    cdef public bint abandoned
    cdef public object response

    cpdef set_up(self)


cdef class Codec:
    cdef public list output
    cdef public Py_ssize_t active
    cdef public Py_ssize_t requests_seen
    cdef public bint multiplexes
    cdef public bint closing
    cdef public bint input_pending
    cdef public Py_ssize_t queued

    cpdef _open(self)
    cpdef list receive_data(self, bytes data)
    cpdef send_head(self, Request request, status, headers)
    cpdef send_body(self, Request request, chunk)
    cpdef send_errors(self, Request request, text)
    cpdef end(self, Request request)
    cpdef respond(self, Request request, status, headers, body)
    cpdef abort(self, Request request)
    cpdef body_wanted(self)
    cpdef list next_requests(self)
    cpdef phase(self)
