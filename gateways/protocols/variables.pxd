import cython


cdef class _Name:
    cdef str text
    cdef bytes raw
    cdef Py_ssize_t length
    cdef _Name follower


cdef dict _names
cdef _Name _NO_NAME


@cython.locals(
    variables=dict, position=Py_ssize_t, end=Py_ssize_t, name_length=Py_ssize_t,
    value_length=Py_ssize_t, middle=Py_ssize_t, read=Py_ssize_t, text=str, name=_Name,
    expected=_Name,
)
cpdef dict decode_pairs(bytes data, Py_ssize_t max_variables=*)

@cython.locals(
    variables=dict, position=Py_ssize_t, end=Py_ssize_t, name_length=Py_ssize_t,
    middle=Py_ssize_t, read=Py_ssize_t, text=str, name=_Name, expected=_Name, has_empty_name=bint,
)
cpdef dict decode_vars(bytes data, Py_ssize_t max_variables=*)

@cython.locals(fields=list, variables=dict)
cpdef dict decode_fields(bytes data, Py_ssize_t max_variables=*)

cdef _check_count(dict variables, Py_ssize_t max_variables)

@cython.locals(length=Py_ssize_t, lengths=list)
cdef tuple _long_lengths(bytes data, Py_ssize_t position)

@cython.locals(values=str)
cdef bint _has_clean_values(dict variables) except -1
cdef bint _are_clean(str names) except -1

@cython.locals(name=_Name)
cdef _Name _name(str text, _Name before)

cpdef content_length(dict variables)
