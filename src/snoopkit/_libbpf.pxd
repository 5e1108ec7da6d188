# What snoopkit uses of libbpf (1.1 or later) and of the kernel's perf interface. Declarations only.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from snoopkit._system cimport va_list

cdef extern from "linux/perf_event.h" nogil:
    enum:
        PERF_TYPE_SOFTWARE
        PERF_COUNT_SW_CPU_CLOCK
        PERF_COUNT_SW_BPF_OUTPUT
        PERF_FLAG_FD_CLOEXEC
        PERF_SAMPLE_TIME
        PERF_SAMPLE_RAW
        PERF_RECORD_LOST
        PERF_RECORD_SAMPLE

    struct perf_event_attr:
        uint32_t type
        uint32_t size
        uint64_t config
        uint64_t sample_period
        uint64_t sample_freq
        uint64_t freq
        uint64_t sample_type
        uint64_t read_format
        uint64_t sample_id_all
        uint64_t watermark
        uint64_t use_clockid
        uint32_t wakeup_watermark
        int clockid

    struct perf_event_header:
        uint32_t type
        uint16_t misc
        uint16_t size

    struct perf_event_mmap_page:
        uint64_t data_head
        uint64_t data_tail
        uint64_t data_offset
        uint64_t data_size

cdef extern from "bpf/bpf.h" nogil:
    enum:
        BPF_MAP_TYPE_PERF_EVENT_ARRAY
        BPF_MAP_TYPE_PERCPU_HASH
        BPF_MAP_TYPE_PERCPU_ARRAY
        BPF_MAP_TYPE_LRU_PERCPU_HASH
        BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE
        BPF_MAP_TYPE_RINGBUF
        BPF_MAP_TYPE_USER_RINGBUF
        BPF_RINGBUF_BUSY_BIT
        BPF_RINGBUF_DISCARD_BIT

    struct bpf_prog_info:
        uint32_t id

    struct bpf_map_info:
        uint32_t id

    struct bpf_link_info:
        uint32_t id

    struct bpf_prog_load_opts:
        uint32_t prog_flags
        uint32_t attach_btf_id

    struct bpf_map_batch_opts:
        size_t sz
        uint64_t elem_flags

    enum:
        BPF_XDP

    struct bpf_link_create_opts:
        size_t sz
        uint32_t flags

    int bpf_link_create(int prog_fd, int target, int attach_type, const bpf_link_create_opts *options)
    int bpf_iter_create(int link_fd)
    int bpf_obj_get_info_by_fd(int fd, void *info, uint32_t *size)
    int bpf_map_lookup_elem(int fd, const void *key, void *value)
    int bpf_map_lookup_batch(
        int fd, void *before, void *behind, void *keys, void *values, uint32_t *count,
        const bpf_map_batch_opts *options)
    int bpf_map_lookup_and_delete_batch(
        int fd, void *before, void *behind, void *keys, void *values, uint32_t *count,
        const bpf_map_batch_opts *options)
    int bpf_map_update_batch(
        int fd, const void *keys, const void *values, uint32_t *count, const bpf_map_batch_opts *options)
    int bpf_map_delete_batch(int fd, const void *keys, uint32_t *count, const bpf_map_batch_opts *options)

cdef extern from "bpf/libbpf.h" nogil:
    struct bpf_object:
        pass
    struct bpf_program:
        pass
    struct bpf_map:
        pass
    struct bpf_link:
        pass
    struct perf_buffer:
        pass
    struct user_ring_buffer:
        pass
    struct bpf_linker:
        pass

    enum bpf_prog_type:
        BPF_PROG_TYPE_RAW_TRACEPOINT
        BPF_PROG_TYPE_TRACING
    enum bpf_attach_type:
        BPF_TRACE_RAW_TP
        BPF_TRACE_ITER
    enum:
        BPF_F_SLEEPABLE

    ctypedef int (*libbpf_prog_prepare_load_fn_t)(
        bpf_program *program, bpf_prog_load_opts *options, long cookie) noexcept nogil

    struct libbpf_prog_handler_opts:
        size_t sz
        long cookie
        libbpf_prog_prepare_load_fn_t prog_prepare_load_fn

    struct bpf_object_open_opts:
        size_t sz
        const char *object_name
        const char *kconfig
        const char *btf_custom_path
        uint32_t kernel_log_level

    struct bpf_kprobe_opts:
        size_t sz
        size_t offset
        bint retprobe

    struct bpf_uprobe_opts:
        size_t sz
        bint retprobe
        const char *func_name

    enum bpf_perf_event_ret:
        LIBBPF_PERF_EVENT_CONT
    ctypedef bpf_perf_event_ret (*perf_buffer_event_fn)(
        void *context, int cpu, perf_event_header *event) noexcept nogil

    struct perf_buffer_raw_opts:
        size_t sz
        int cpu_cnt
        int *cpus
        int *map_keys

    enum libbpf_print_level:
        LIBBPF_DEBUG
    ctypedef int (*libbpf_print_fn_t)(
        libbpf_print_level level, const char *format, va_list arguments) noexcept nogil

    libbpf_print_fn_t libbpf_set_print(libbpf_print_fn_t print)
    int libbpf_strerror(int error_number, char *text, size_t size)
    int libbpf_num_possible_cpus()
    int libbpf_probe_bpf_map_type(int type, const void *options)

    bpf_object *bpf_object__open_mem(const void *data, size_t size, const bpf_object_open_opts *options)
    int bpf_object__load(bpf_object *object)
    void bpf_object__close(bpf_object *object)
    bpf_program *bpf_object__next_program(const bpf_object *object, bpf_program *program)
    bpf_map *bpf_object__next_map(const bpf_object *object, const bpf_map *map)

    const char *bpf_program__name(const bpf_program *program)
    const char *bpf_program__section_name(const bpf_program *program)
    bint bpf_program__autoload(const bpf_program *program)
    int bpf_program__set_autoload(bpf_program *program, bint autoload)
    int bpf_program__set_expected_attach_type(bpf_program *program, int type)
    int bpf_program__set_attach_target(bpf_program *program, int program_fd, const char *function)
    int bpf_program__fd(const bpf_program *program)
    const void *bpf_program__insns(const bpf_program *program)
    size_t bpf_program__insn_cnt(const bpf_program *program)
    bpf_link *bpf_program__attach(const bpf_program *program)
    bpf_link *bpf_program__attach_tracepoint(
        const bpf_program *program, const char *category, const char *name)
    bpf_link *bpf_program__attach_raw_tracepoint(const bpf_program *program, const char *name)
    bpf_link *bpf_program__attach_kprobe_opts(
        const bpf_program *program, const char *function, const bpf_kprobe_opts *options)
    bpf_link *bpf_program__attach_uprobe_opts(
        const bpf_program *program, int pid, const char *binary, size_t offset, const bpf_uprobe_opts *options)
    bpf_link *bpf_program__attach_usdt(
        const bpf_program *program, int pid, const char *binary, const char *provider, const char *name,
        const void *options)
    bpf_link *bpf_program__attach_perf_event(const bpf_program *program, int perf_event_fd)
    bpf_link *bpf_program__attach_cgroup(const bpf_program *program, int cgroup_fd)
    bpf_link *bpf_program__attach_xdp(const bpf_program *program, int interface_index)
    bpf_link *bpf_program__attach_trace(const bpf_program *program)
    bpf_link *bpf_program__attach_iter(const bpf_program *program, const void *options)
    int bpf_program__set_type(bpf_program *program, bpf_prog_type type)
    int libbpf_register_prog_handler(
        const char *section, bpf_prog_type type, bpf_attach_type attach_type,
        const libbpf_prog_handler_opts *options)
    enum:
        BPF_TC_INGRESS
        BPF_TC_EGRESS

    struct bpf_tc_hook:
        size_t sz
        int ifindex
        int attach_point

    struct bpf_tc_opts:
        size_t sz
        int prog_fd
        uint32_t flags
        uint32_t prog_id
        uint32_t handle
        uint32_t priority

    int bpf_tc_hook_create(bpf_tc_hook *hook)
    int bpf_tc_hook_destroy(bpf_tc_hook *hook)
    int bpf_tc_attach(const bpf_tc_hook *hook, bpf_tc_opts *options)
    int bpf_tc_detach(const bpf_tc_hook *hook, const bpf_tc_opts *options)
    int bpf_link__fd(const bpf_link *link)
    void bpf_link__disconnect(bpf_link *link)
    int bpf_link__destroy(bpf_link *link)

    const char *bpf_map__name(const bpf_map *map)
    int bpf_map__fd(const bpf_map *map)
    int bpf_map__type(const bpf_map *map)
    uint32_t bpf_map__key_size(const bpf_map *map)
    uint32_t bpf_map__value_size(const bpf_map *map)
    uint32_t bpf_map__max_entries(const bpf_map *map)
    int bpf_map__set_type(bpf_map *map, int type)
    int bpf_map__set_key_size(bpf_map *map, uint32_t size)
    int bpf_map__set_value_size(bpf_map *map, uint32_t size)
    int bpf_map__set_max_entries(bpf_map *map, uint32_t max_entries)
    uint32_t bpf_map__map_flags(const bpf_map *map)
    bint bpf_map__is_internal(const bpf_map *map)
    int bpf_map__set_pin_path(bpf_map *map, const char *path)
    const void *bpf_map__initial_value(bpf_map *map, size_t *size)
    int bpf_map__set_initial_value(bpf_map *map, const void *data, size_t size)
    int bpf_map__lookup_elem(
        const bpf_map *map, const void *key, size_t key_size, void *value, size_t value_size, uint64_t flags)
    int bpf_map__lookup_and_delete_elem(
        const bpf_map *map, const void *key, size_t key_size, void *value, size_t value_size, uint64_t flags)
    int bpf_map__update_elem(
        const bpf_map *map, const void *key, size_t key_size,
        const void *value, size_t value_size, uint64_t flags)
    int bpf_map__delete_elem(const bpf_map *map, const void *key, size_t key_size, uint64_t flags)
    int bpf_map__get_next_key(const bpf_map *map, const void *key, void *next_key, size_t key_size)

    perf_buffer *perf_buffer__new_raw(
        int map_fd, size_t page_count, perf_event_attr *attributes, perf_buffer_event_fn callback,
        void *context, const perf_buffer_raw_opts *options)
    void perf_buffer__free(perf_buffer *buffer)
    size_t perf_buffer__buffer_cnt(const perf_buffer *buffer)
    int perf_buffer__epoll_fd(const perf_buffer *buffer)
    int perf_buffer__buffer_fd(const perf_buffer *buffer, size_t number)
    int perf_buffer__buffer(perf_buffer *buffer, int number, void **memory, size_t *size)

    user_ring_buffer *user_ring_buffer__new(int map_fd, const void *options)
    void *user_ring_buffer__reserve(user_ring_buffer *ring, uint32_t size)
    void user_ring_buffer__submit(user_ring_buffer *ring, void *sample)
    void user_ring_buffer__free(user_ring_buffer *ring)

    bpf_linker *bpf_linker__new(const char *path, void *options)
    int bpf_linker__add_file(bpf_linker *linker, const char *path, const void *options)
    int bpf_linker__finalize(bpf_linker *linker)
    void bpf_linker__free(bpf_linker *linker)
