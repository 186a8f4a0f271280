import cython

from gateways.protocols.familiar cimport Name, Names, Pair
from gateways.protocols cimport room

cdef Names _fields, _pairs, _vars


@cython.locals(
    variables=dict, fresh=list, values=list, value=str, position=Py_ssize_t, end=Py_ssize_t, name_length=Py_ssize_t,
    value_length=Py_ssize_t, middle=Py_ssize_t, read=Py_ssize_t, name=Name, expected=Name,
    pair=Pair,
)
cpdef dict decode_pairs(bytes data, Py_ssize_t max_variables=*)

@cython.locals(
    variables=dict, fresh=list, values=list, value=str, position=Py_ssize_t, end=Py_ssize_t, name_length=Py_ssize_t,
    middle=Py_ssize_t, read=Py_ssize_t, name=Name, expected=Name, pair=Pair, has_empty_name=bint,
)
cpdef dict decode_vars(bytes data, Py_ssize_t max_variables=*, Py_ssize_t start=*)

@cython.locals(
    variables=dict, fresh=list, values=list, value=str, position=Py_ssize_t, end=Py_ssize_t,
    middle=Py_ssize_t, read=Py_ssize_t, name=Name, expected=Name, pair=Pair, has_empty_name=bint,
)
cpdef dict decode_fields(bytes data, Py_ssize_t max_variables=*)

cdef _check_count(dict variables, Py_ssize_t max_variables)

@cython.locals(length=Py_ssize_t, lengths=list)
cdef tuple _long_lengths(bytes data, Py_ssize_t position)

cpdef content_length(dict variables)
