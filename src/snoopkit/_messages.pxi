# What libbpf says during a call, and what becomes of its refusals. _core.pyx includes it.

# libbpf has one print callback for the whole process. A call that wants to know what libbpf says during it
# puts its Log where only its own thread finds it, so calls of several threads go on side by side.
cdef struct Log:
    FILE *file
    char *text
    size_t size
    bint everything           # debug messages too

cdef Py_tss_t _log_of_thread
cdef bint _log_to_stderr = False


cdef int _print(libbpf_print_level level, const char *format, va_list arguments) noexcept nogil:
    cdef Log *log = <Log *>PyThread_tss_get(&_log_of_thread)
    cdef va_list again
    if _log_to_stderr:
        va_copy(again, arguments)
        vfprintf(stderr, format, again)
        va_end(again)
    if log != NULL and (log.everything or level != LIBBPF_DEBUG) and ftell(log.file) < LOG_LIMIT:
        vfprintf(log.file, format, arguments)
    return 0


if PyThread_tss_create(&_log_of_thread) != 0:
    raise MemoryError()
libbpf_set_print(_print)


def set_log_to_stderr(bint on) -> None:
    global _log_to_stderr
    _log_to_stderr = on


cdef void _listen(Log *log, bint everything) noexcept nogil:
    memset(log, 0, sizeof(Log))
    log.everything = everything
    log.file = open_memstream(&log.text, &log.size)
    if log.file != NULL:      # having no log is no reason to fail what it would tell about
        PyThread_tss_set(&_log_of_thread, log)


cdef str _heard(Log *log):
    """What libbpf said on this thread since _listen, which must have been called; `log` is used up."""
    if log.file == NULL:
        return ""
    PyThread_tss_set(&_log_of_thread, NULL)
    try:
        if fclose(log.file) != 0 or log.text == NULL:
            return ""
        return log.text[:log.size].decode("utf-8", "replace")
    finally:
        free(log.text)


cdef object _failure(type kind, int error_number, str what, str log=""):
    """The exception for one failed call; `what` is "stage: thing"."""
    cdef char text[256]
    libbpf_strerror(error_number, text, sizeof(text))
    message = f"{what}: {text.decode('utf-8', 'replace')}"
    if kind is PackageError:
        error = PackageError(message)
    else:     # from 4000 on are libbpf's own
        error = kind(message, errno=error_number if error_number < 4000 else None)
    error.log = log
    return error


cdef int _check(int result, type kind, str what) except -1:
    """The result of a call that says by a negative one that it failed."""
    if result < 0:
        raise _failure(kind, -result, what)
    return result


cdef str _text(const char *text):
    return text.decode("utf-8", "surrogateescape") if text != NULL else ""
