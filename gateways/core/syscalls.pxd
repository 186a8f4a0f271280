cpdef tuple accept(listening, int number)
cpdef bytes receive(int fd)
cpdef Py_ssize_t send(int fd, data) except -1
cpdef int shutdown(int fd, int how) except -1
cpdef tuple next_event(epoll, int number, double timeout)
cpdef int rearm(epoll, int number, int fd, unsigned int events) except -1
cpdef bint prctl(int option, value)
