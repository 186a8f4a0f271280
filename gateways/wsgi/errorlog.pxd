cdef class ErrorStream:
    cdef object _channel
    cdef object _line
    cdef object _request
    cdef public object is_busy

    cpdef flush(self)
    cpdef detach(self)
    cdef _emit(self, text)
