from gateways.protocols.familiar cimport Names


cdef class RequestLimits:
    cdef readonly Py_ssize_t max_variables
    cdef readonly Py_ssize_t max_variables_bytes
    cdef readonly long long max_body_bytes
    cdef readonly long long body_memory_bytes
    cdef readonly Names pairs
    cdef readonly Names vars
    cdef readonly Names fields
