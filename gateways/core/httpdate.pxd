import cython


cdef class HTTPDate:
    cdef long long _second
    cdef str _text

    @cython.locals(second="long long")
    cpdef str now(self)
