from gateways.core cimport slot


cdef class Recorder:
    cdef object _view
    cdef list _offsets
    cdef list _requests

    cpdef begin(self, Py_ssize_t thread, dict variables, double now)

    cpdef end(self, Py_ssize_t thread)
