import cython

from gateways.core.clock cimport Clock
from gateways.core.poller cimport Poller
from gateways.core.sendqueue cimport SendQueue, new_queue
from gateways.core.syscalls cimport Lock, close, new_lock, shutdown
from gateways.wsgi.channel cimport Channel


cdef class Transport(Channel):
    cdef int _fd
    cdef object _address
    cdef Poller _poller
    cdef Clock _clock
    cdef SendQueue _queue
    cdef list _waiting
    cdef bint _is_wide
    cdef bint _known
    cdef int _reported
    cdef readonly Lock lock
    cdef public int armed
    cdef public bint self_polling
    cdef public bint eof
    cdef public bint broken
    cdef public bint closed
    cdef public bint lingering
    cdef public double linger_until
    cdef public double since

    cdef _open(self, int fd, address, Poller poller, Clock clock)
    cdef _arm(self, int events)
    cdef _disarm(self)
    cdef _begin_to_wait(self, bint is_shared, bint may_be_woken)
    cdef _end_of_wait(self, own)
    cdef _wake_waiting(self)
    cdef _send(self, list out)
    cdef bint _widen(self) except -1
    cdef _break(self)
    cdef _linger(self, double timeout)
    cdef bint _turn_away(self, bytes data, protocol) except -1
    cdef _shutdown(self, how)
    cdef _close(self)
