# No module is compiled of this: it stands in for two functions in those that are.
cdef extern from *:
    """
    struct gateways_slot { /* _SLOT */
        unsigned char state;
        double since;
        unsigned long long requests;
        char texts[232];
    };

    static CYTHON_INLINE struct gateways_slot *gateways_slot_at(PyObject *view, Py_ssize_t at) {
        return (struct gateways_slot *)((char *)PyMemoryView_GET_BUFFER(view)->buf + at);
    }

    /* Up to `most` characters of a str, as far as there is room; returns where they end. */
    static CYTHON_INLINE char *gateways_write_latin1(char *to, char *end, PyObject *text, Py_ssize_t most) {
        Py_ssize_t size = PyUnicode_GET_LENGTH(text), i;
        if (size > most) {
            size = most;
        }
        if (size > end - to) {
            size = end - to;
        }
        if (PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND) {
            memcpy(to, PyUnicode_1BYTE_DATA(text), (size_t)size);
        } else {
            for (i = 0; i < size; i++) {
                Py_UCS4 character = PyUnicode_READ_CHAR(text, i);
                to[i] = (char)(character < 256 ? character : '?');
            }
        }
        return to + size;
    }

    /* The state last: whoever sees it may read the rest. */
    static CYTHON_INLINE void gateways_fill_slot(PyObject *view, Py_ssize_t at, double since,
                                   unsigned long long requests, PyObject *method,
                                   PyObject *client, PyObject *script_name, PyObject *path_info) {
        struct gateways_slot *slot = gateways_slot_at(view, at);
        char *to = slot->texts, *end = to + sizeof slot->texts;
        to = gateways_write_latin1(to, end, method, 16 /* _METHOD */);
        *to++ = 0;
        to = gateways_write_latin1(to, end, client, 48 /* _CLIENT */);
        *to++ = 0;
        to = gateways_write_latin1(to, end, script_name, end - to);
        to = gateways_write_latin1(to, end, path_info, end - to);
        memset(to, 0, (size_t)(end - to));
        slot->since = since;
        slot->requests = requests;
        slot->state = 1;
    }

    static CYTHON_INLINE void gateways_clear_slot(PyObject *view, Py_ssize_t at) {
        gateways_slot_at(view, at)->state = 0;
    }
    """
    void fill_slot "gateways_fill_slot"(
        view, Py_ssize_t at, double since, unsigned long long requests,
        str method, str client, str script_name, str path_info,
    )
    void clear_slot "gateways_clear_slot"(view, Py_ssize_t at)
