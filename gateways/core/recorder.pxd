import cython

from gateways.core cimport slot

cdef Py_ssize_t _METHOD, _CLIENT


cdef class Recorder:
    cdef object _view
    cdef list _offsets
    cdef list _requests

    @cython.locals(text=str, method=str, client=str, raw=bytes)
    cpdef begin(self, Py_ssize_t thread, dict variables, double now)

    cpdef end(self, Py_ssize_t thread)
