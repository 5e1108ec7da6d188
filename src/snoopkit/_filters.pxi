# What libbpf makes no bpf_link of: tc programs as filters of the interface's clsact qdisc, which is made if it isn't
# there (where the kernel has no links for them, before 6.6, or the filter's handle and priority matter), and XDP
# programs in a mode that was asked for. _core.pyx includes it.

cdef struct Filter:
    Filter *next
    bpf_tc_hook hook
    bpf_tc_opts options       # its handle and priority, as the kernel has them
    bint made_qdisc
    int link_fd               # of an XDP program, with nothing of the above; else -1


cdef struct FilterDump:       # what asks the kernel for the filters of one direction
    nlmsghdr header
    tcmsg body


cdef int _has_filters(int interface, uint32_t direction) noexcept nogil:
    """Whether the clsact qdisc has any, whosever they are; -1 where the kernel doesn't tell."""
    cdef FilterDump request
    cdef char answer[16384]
    cdef ssize_t size
    cdef int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)
    if fd < 0:
        return -1
    memset(&request, 0, sizeof(request))
    request.header.nlmsg_len = sizeof(request)
    request.header.nlmsg_type = RTM_GETTFILTER
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP
    request.body.tcm_ifindex = interface
    request.body.tcm_parent = (TC_H_CLSACT & <uint32_t>0xffff0000) | direction
    size = send(fd, &request, sizeof(request), 0)
    if size == sizeof(request):
        size = recv(fd, answer, sizeof(answer), 0)
    close(fd)
    if size < <ssize_t>sizeof(nlmsghdr):
        return -1
    return (<nlmsghdr *>answer).nlmsg_type == RTM_NEWTFILTER


cdef Filter *_add_xdp(int program_fd, int interface, uint32_t mode) noexcept nogil:
    """NULL with errno where the kernel refuses."""
    cdef Filter *filter = <Filter *>calloc(1, sizeof(Filter))
    cdef bpf_link_create_opts options
    if filter == NULL:
        return NULL
    memset(&options, 0, sizeof(options))
    options.sz = sizeof(options)
    options.flags = mode
    filter.link_fd = bpf_link_create(program_fd, interface, BPF_XDP, &options)
    if filter.link_fd >= 0:
        return filter
    free(filter)
    return NULL


cdef Filter *_add_filter(
        int program_fd, int interface, bint is_egress, uint32_t handle, uint32_t priority) noexcept nogil:
    """NULL with errno where the kernel refuses, which chooses what is 0 of handle and priority."""
    cdef Filter *filter = <Filter *>calloc(1, sizeof(Filter))
    cdef int result
    if filter == NULL:
        return NULL
    filter.link_fd = -1
    filter.hook.sz = sizeof(bpf_tc_hook)
    filter.hook.ifindex = interface
    filter.hook.attach_point = BPF_TC_EGRESS if is_egress else BPF_TC_INGRESS
    result = bpf_tc_hook_create(&filter.hook)
    filter.made_qdisc = result == 0
    filter.options.sz = sizeof(bpf_tc_opts)
    filter.options.prog_fd = program_fd
    filter.options.handle = handle
    filter.options.priority = priority
    if result == 0 or result == -EEXIST:
        result = bpf_tc_attach(&filter.hook, &filter.options)
    if result == 0:
        filter.options.prog_fd = 0      # as detaching wants it
        filter.options.prog_id = 0
        filter.options.flags = 0
        return filter
    _drop_qdisc(filter)
    free(filter)
    errno = -result
    return NULL


cdef void _remove_filter(Filter *filter) noexcept nogil:
    """Ours, and nobody else's; with the qdisc if that was made for it and nobody else has put a filter there."""
    if filter.link_fd >= 0:
        close(filter.link_fd)
    else:
        bpf_tc_detach(&filter.hook, &filter.options)
    _drop_qdisc(filter)
    free(filter)


cdef void _drop_qdisc(Filter *filter) noexcept nogil:
    cdef int interface = filter.hook.ifindex
    if not filter.made_qdisc or _has_filters(interface, TC_H_MIN_INGRESS) or _has_filters(interface, TC_H_MIN_EGRESS):
        return
    filter.hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS     # the qdisc itself
    bpf_tc_hook_destroy(&filter.hook)
