import cython


cdef class ErrorStream:
    cdef object _channel
    cdef object _request
    cdef public object is_busy
    cdef readonly object line

    cdef _begin(self, channel, request)
    cpdef flush(self)
    cpdef detach(self)
    cdef _emit(self, text)


@cython.locals(stream=ErrorStream)
cpdef ErrorStream new_error_stream(channel, request)
