import cython

cdef Py_ssize_t _TEXT, _METHOD, _CLIENT


cdef class Recorder:
    cdef object _view
    cdef list _offsets
    cdef list _requests
    cdef object _pack_into

    @cython.locals(text=str, method=str, client=str)
    cpdef begin(self, Py_ssize_t thread, dict variables, double now)

    cpdef end(self, Py_ssize_t thread)
