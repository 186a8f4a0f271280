# No module is compiled of this: it stands in for two functions in those that are.
cdef extern from *:
    """
    struct gateways_slot { /* _SLOT */
        unsigned char state;
        double since;
        unsigned long long requests;
        char texts[232];
    };

    static struct gateways_slot *gateways_slot_at(PyObject *view, Py_ssize_t at) {
        return (struct gateways_slot *)((char *)PyMemoryView_GET_BUFFER(view)->buf + at);
    }

    /* The state last: whoever sees it may read the rest. */
    static void gateways_fill_slot(PyObject *view, Py_ssize_t at, double since,
                                   unsigned long long requests, PyObject *texts) {
        struct gateways_slot *slot = gateways_slot_at(view, at);
        size_t size = (size_t)PyBytes_GET_SIZE(texts);
        if (size > sizeof slot->texts) {
            size = sizeof slot->texts;
        }
        memcpy(slot->texts, PyBytes_AS_STRING(texts), size);
        memset(slot->texts + size, 0, sizeof slot->texts - size);
        slot->since = since;
        slot->requests = requests;
        slot->state = 1;
    }

    static void gateways_clear_slot(PyObject *view, Py_ssize_t at) {
        gateways_slot_at(view, at)->state = 0;
    }
    """
    Py_ssize_t TEXT_BYTES "((Py_ssize_t)sizeof ((struct gateways_slot *)0)->texts)"
    void fill_slot "gateways_fill_slot"(
        view, Py_ssize_t at, double since, unsigned long long requests, bytes texts,
    )
    void clear_slot "gateways_clear_slot"(view, Py_ssize_t at)
