cdef class RequestLimits:
    cdef readonly Py_ssize_t max_variables
    cdef readonly Py_ssize_t max_variables_bytes
    cdef readonly long long max_body_bytes
    cdef readonly long long body_memory_bytes
