# The numbers are in their ranges: whoever calls has cut the content, and ids came in two bytes.
cdef extern from *:
    """
    static CYTHON_INLINE PyObject *gateways_pack_header(
            int version, int type, int id, Py_ssize_t length, int padding) {
        char header[8] = {(char)version, (char)type, (char)(id >> 8), (char)id,
                          (char)(length >> 8), (char)length, (char)padding, 0};
        return PyBytes_FromStringAndSize(header, 8);
    }

    static CYTHON_INLINE PyObject *gateways_pack_pieces(int type, int id, PyObject *pieces, PyObject *last,
                                          PyObject *behind, Py_ssize_t most) {
        Py_ssize_t count = PyList_GET_SIZE(pieces), length = PyBytes_GET_SIZE(last), i;
        for (i = 0; i < count; i++) {
            if (!PyBytes_CheckExact(PyList_GET_ITEM(pieces, i))) {
                PyErr_SetString(PyExc_TypeError, "a piece of a record must be bytes");
                return NULL;
            }
            length += PyBytes_GET_SIZE(PyList_GET_ITEM(pieces, i));
        }
        if (length > most) {
            Py_RETURN_NONE;
        }
        int padding = (int)(-length & 7);
        Py_ssize_t size = 8 + length + padding + PyBytes_GET_SIZE(behind);
        PyObject *record = PyBytes_FromStringAndSize(NULL, size);
        if (record == NULL) {
            return NULL;
        }
        char *to = PyBytes_AS_STRING(record);
        char header[8] = {1, (char)type, (char)(id >> 8), (char)id,
                          (char)(length >> 8), (char)length, (char)padding, 0};
        memcpy(to, header, 8);
        to += 8;
        for (i = 0; i <= count; i++) {
            PyObject *piece = i < count ? PyList_GET_ITEM(pieces, i) : last;
            memcpy(to, PyBytes_AS_STRING(piece), (size_t)PyBytes_GET_SIZE(piece));
            to += PyBytes_GET_SIZE(piece);
        }
        memset(to, 0, (size_t)padding);
        memcpy(to + padding, PyBytes_AS_STRING(behind), (size_t)PyBytes_GET_SIZE(behind));
        return record;
    }

    static CYTHON_INLINE int gateways_is_at(PyObject *data, PyObject *expected, Py_ssize_t at) {
        Py_ssize_t size = PyBytes_GET_SIZE(expected);
        return size <= PyBytes_GET_SIZE(data) - at &&
               memcmp(PyBytes_AS_STRING(data) + at, PyBytes_AS_STRING(expected), (size_t)size) == 0;
    }
    """
    bytes pack_header "gateways_pack_header" (
        int version, int record_type, int request_id, Py_ssize_t length, int padding,
    )
    bytes pack_pieces "gateways_pack_pieces" (
        int record_type, int request_id, list pieces, bytes last, bytes behind, Py_ssize_t most,
    )
    bint is_at "gateways_is_at" (bytes data, bytes expected, Py_ssize_t at)
