import cython

from gateways.protocols cimport framing, room

cdef int _PAIRS, _VARS, _FIELDS
cdef int _CHANGES_ALL_THE_TIME, _OTHERS_IN_A_ROW, _RENEWED_AFTER


cdef class Pair:
    cdef readonly bytes raw
    cdef readonly Py_ssize_t size
    cdef readonly str value


cdef class Run:
    cdef readonly bytes raw
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t count


cdef class Name:
    cdef readonly str text
    cdef readonly bytes raw
    cdef readonly Py_ssize_t length
    cdef public Name follower
    cdef public Pair pair
    cdef public str last
    cdef readonly bint is_secret
    cdef public int changes


cdef class Shape:
    cdef readonly list names
    cdef readonly list pairs
    cdef readonly list runs
    cdef readonly Py_ssize_t count
    cdef readonly dict variables
    cdef readonly dict prepared
    cdef readonly bytes matters


cdef class Names:
    cdef int _wire
    cdef object _encode
    cdef object _is_refused
    cdef object _prepare
    cdef dict _known
    cdef readonly Name first
    cdef Shape _shape
    cdef int _others
    cdef bint _is_stale
    cdef long long _age

    @cython.locals(
        wire=int, shape=Shape, names=list, variables=dict, fresh=list, values=list, is_other=bint,
        is_plain=bint,        position=Py_ssize_t, index=Py_ssize_t, name=Name, expected=Name, pair=Pair, run=Run,
        length=Py_ssize_t, size=Py_ssize_t, value_at=Py_ssize_t, value=str,
    )
    cpdef dict read(self, bytes data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t most=*)

    @cython.locals(name=Name)
    cdef Name _find(self, str text, Name before)

    @cython.locals(name=Name, joined=str, value=str, position=Py_ssize_t)
    cdef bint _take(self, list fresh, list values) except -1

    cdef _note_other(self, list names)
    cdef _note_usual(self, Shape shape)
    cdef _make_shape(self, list names)


@cython.locals(length=Py_ssize_t, lengths=list)
cpdef tuple long_lengths(bytes data, Py_ssize_t position)

cpdef check_count(Py_ssize_t count, Py_ssize_t most)

@cython.locals(name=Name, some=dict, expected=dict)
cdef dict _plain(Shape shape, list names, list fresh, list values)
