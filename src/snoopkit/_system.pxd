# What snoopkit uses of the C library, the compiler and Python, where Cython has no declarations. Declarations only.
from libc.stdint cimport uint16_t, uint32_t
from libc.stdio cimport FILE
from posix.time cimport itimerspec

cdef extern from "stdarg.h" nogil:
    ctypedef struct va_list:
        pass
    void va_copy(va_list to, va_list from_)
    void va_end(va_list arguments)

cdef extern from "string.h" nogil:
    void *memmem(const void *where, size_t size, const void *what, size_t length)

cdef extern from "stdio.h" nogil:
    int vfprintf(FILE *file, const char *format, va_list arguments)

cdef extern from "pthread.h" nogil:
    int pthread_atfork(void (*before)() noexcept, void (*parent)() noexcept, void (*child)() noexcept)

cdef extern from "poll.h" nogil:
    enum:
        POLLIN

    struct pollfd:
        int fd
        short events
    int poll(pollfd *items, unsigned long count, int timeout_ms)

cdef extern from "sys/syscall.h" nogil:
    enum:
        SYS_perf_event_open

cdef extern from "unistd.h" nogil:
    long syscall(long number, ...)

cdef extern from "sys/mman.h" nogil:
    enum:
        MFD_CLOEXEC
    int memfd_create(const char *name, unsigned int flags)

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_NETLINK
        SOCK_CLOEXEC
        SOCK_RAW

    int socket(int family, int type, int protocol)
    ssize_t send(int fd, const void *data, size_t size, int flags)
    ssize_t recv(int fd, void *data, size_t size, int flags)

cdef extern from "linux/netlink.h" nogil:
    enum:
        NETLINK_ROUTE
        NLM_F_DUMP
        NLM_F_REQUEST

    struct nlmsghdr:
        uint32_t nlmsg_len
        uint16_t nlmsg_type
        uint16_t nlmsg_flags

cdef extern from "linux/pkt_sched.h" nogil:
    enum:
        TC_H_CLSACT
        TC_H_MIN_EGRESS
        TC_H_MIN_INGRESS

cdef extern from "linux/rtnetlink.h" nogil:
    enum:
        RTM_GETTFILTER
        RTM_NEWTFILTER

    struct tcmsg:
        int tcm_ifindex
        uint32_t tcm_parent

cdef extern from "sys/epoll.h" nogil:
    enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLLET
        EPOLLIN

    struct epoll_event:
        uint32_t events
    int epoll_create1(int flags)
    int epoll_ctl(int epoll_fd, int operation, int fd, epoll_event *event)
    int epoll_wait(int epoll_fd, epoll_event *events, int count, int timeout_ms)

cdef extern from "sys/timerfd.h" nogil:
    enum:
        TFD_CLOEXEC
        TFD_NONBLOCK

    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec *new, itimerspec *old)

cdef extern from *:
    enum:
        __ATOMIC_ACQUIRE
        __ATOMIC_RELEASE

    # The compiler's: they take an integer of any size.
    unsigned long long __atomic_load_n(void *place, int order) nogil
    void __atomic_store_n(void *place, unsigned long long value, int order) nogil

cdef extern from "Python.h" nogil:
    # What a thread keeps for itself; none of these needs the interpreter lock.
    int PyThread_tss_create(Py_tss_t *key)
    int PyThread_tss_set(Py_tss_t *key, void *value)
    void *PyThread_tss_get(Py_tss_t *key)
