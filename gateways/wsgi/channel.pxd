cdef class Channel:
    cpdef note_running(self, request, response)
    cpdef send_head(self, request, status, headers)
    cpdef send_body(self, request, chunk)
    cpdef long long send_file(self, request, int fd, long long offset, long long size) except -1
    cpdef finish(self, request, chunk)
    cpdef respond(self, request, status, headers, chunk)
    cpdef abort(self, request)
    cpdef send_errors(self, request, text)
