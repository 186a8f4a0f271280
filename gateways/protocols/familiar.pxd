import cython


cdef class Pair:
    cdef readonly bytes raw
    cdef readonly Py_ssize_t size
    cdef readonly str value


cdef class Name:
    cdef readonly str text
    cdef readonly bytes raw
    cdef readonly Py_ssize_t length
    cdef public Name follower
    cdef public Pair pair
    cdef public str last
    cdef readonly bint is_secret


cdef class Names:
    cdef object _encode
    cdef dict _known
    cdef object _is_refused
    cdef readonly Name first

    @cython.locals(name=Name)
    cpdef Name find(self, str text, Name before)

    @cython.locals(name=Name, value=str, position=Py_ssize_t)
    cpdef bint take(self, list fresh, list values) except -1


cpdef bint have_no_breaks(str values) except -1
cpdef bint are_clean(str names) except -1
