import cython


@cython.locals(
    text=str, variables=dict, position=Py_ssize_t, end=Py_ssize_t, long_lengths=Py_ssize_t,
    name_length=Py_ssize_t, value_length=Py_ssize_t, start=Py_ssize_t, middle=Py_ssize_t,
    end_of_pair=Py_ssize_t, names=str, values=str, missing=Py_ssize_t,
)
cpdef dict decode_pairs(bytes data, Py_ssize_t max_variables=*)

@cython.locals(
    text=str, variables=dict, position=Py_ssize_t, end=Py_ssize_t, middle=Py_ssize_t,
    end_of_pair=Py_ssize_t, names=str, values=str, missing=Py_ssize_t,
)
cpdef dict decode_vars(bytes data, Py_ssize_t max_variables=*)

@cython.locals(fields=list, variables=dict)
cpdef dict decode_fields(bytes data, Py_ssize_t max_variables=*)

cdef _check_count(dict variables, Py_ssize_t max_variables)

@cython.locals(length=Py_ssize_t, lengths=list)
cdef tuple _long_lengths(bytes data, Py_ssize_t position)

cdef bint _is_clean(dict variables, str names, str values) except -1

cpdef content_length(dict variables)
