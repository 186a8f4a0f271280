# The numbers are in their ranges: whoever calls has cut the content, and ids came in two bytes.
cdef extern from *:
    """
    static CYTHON_INLINE PyObject *gateways_pack_header(
            int version, int type, int id, Py_ssize_t length, int padding) {
        char header[8] = {(char)version, (char)type, (char)(id >> 8), (char)id,
                          (char)(length >> 8), (char)length, (char)padding, 0};
        return PyBytes_FromStringAndSize(header, 8);
    }
    """
    bytes pack_header "gateways_pack_header" (
        int version, int record_type, int request_id, Py_ssize_t length, int padding,
    )
