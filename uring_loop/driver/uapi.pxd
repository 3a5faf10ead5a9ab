"""The C names of include/uring.h that Cython code uses; no logic."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from uring_loop.driver.libc cimport epoll_event


cdef extern from "uring.h" nogil:
    enum:
        # From <errno.h>; Cython's libc.errno does not declare it.
        ECANCELED
        IORING_SETUP_CQSIZE
        IORING_SETUP_CLAMP
        IORING_SETUP_R_DISABLED
        IORING_SETUP_SUBMIT_ALL
        IORING_SETUP_COOP_TASKRUN
        IORING_SETUP_TASKRUN_FLAG
        IORING_SETUP_SINGLE_ISSUER
        IORING_SETUP_DEFER_TASKRUN
        IORING_SETUP_NO_SQARRAY
        IORING_OP_POLL_ADD
        IORING_OP_ACCEPT
        IORING_OP_ASYNC_CANCEL
        IORING_OP_READ
        IORING_OP_RECV
        IO_URING_OP_SUPPORTED
        IOSQE_BUFFER_SELECT
        IOSQE_CQE_SKIP_SUCCESS
        IORING_CQE_F_BUFFER
        IORING_CQE_F_MORE
        IORING_CQE_BUFFER_SHIFT

    struct __kernel_timespec:
        int64_t tv_sec
        long long tv_nsec

    struct io_uring_sqe:
        uint8_t opcode
        uint8_t flags
        uint64_t off
        uint64_t addr
        uint32_t len
        uint16_t buf_group

    struct io_uring_cqe:
        uint64_t user_data
        int32_t res
        uint32_t flags

    struct io_uring_params:
        uint32_t sq_entries
        uint32_t cq_entries
        uint32_t flags

    struct io_uring_probe_op:
        uint16_t flags

    struct io_uring_probe:
        uint8_t ops_len
        io_uring_probe_op *ops

    struct io_uring_sq:
        unsigned ring_entries

    struct io_uring_cq:
        unsigned ring_entries

    struct io_uring:
        io_uring_sq sq
        io_uring_cq cq
        int ring_fd
        unsigned flags

    struct io_uring_buf:
        pass

    struct io_uring_buf_ring:
        pass

    struct io_uring_recvmsg_out:
        uint32_t namelen
        uint32_t payloadlen

    struct io_uring_buf_reg:
        uint64_t ring_addr
        uint32_t ring_entries
        uint16_t bgid

    int io_uring_queue_init_params(
        unsigned entries, io_uring *ring, io_uring_params *p)
    void io_uring_queue_exit(io_uring *ring)
    int io_uring_enable_rings(io_uring *ring)
    int io_uring_register_probe(io_uring *ring, io_uring_probe *p, unsigned nr)
    int io_uring_register_eventfd(io_uring *ring, int event_fd)
    int io_uring_unregister_eventfd(io_uring *ring)
    int io_uring_register_buf_ring(
        io_uring *ring, io_uring_buf_reg *reg, unsigned flags)
    int io_uring_buf_ring_mask(uint32_t ring_entries)
    void io_uring_buf_ring_add(
        io_uring_buf_ring *br, void *addr, unsigned len, unsigned short bid,
        int mask, int buf_offset)
    void io_uring_buf_ring_advance(io_uring_buf_ring *br, int count)

    io_uring_sqe *io_uring_get_sqe(io_uring *ring)
    void io_uring_sqe_set_data64(io_uring_sqe *sqe, uint64_t data)
    unsigned io_uring_sq_ready(const io_uring *ring)
    unsigned io_uring_cq_ready(const io_uring *ring)
    bint io_uring_cq_has_overflow(const io_uring *ring)
    int uring_epoll_queue_init(
        unsigned entries, unsigned cq_entries, io_uring *ring)
    void uring_forget_fd(io_uring *ring, int fd)
    int uring_watch(io_uring *ring, int how, int fd, uint32_t events)
    bint uring_watch_again(io_uring *ring, int fd, uint32_t events)
    int uring_take_ready(
        io_uring *ring, epoll_event *out, int room, bint comes_back)
    int io_uring_submit(io_uring *ring)
    int io_uring_submit_and_get_events(io_uring *ring)
    int uring_submit_and_wait(
        io_uring *ring, unsigned wait_nr, __kernel_timespec *ts)
    bint uring_need_wait(const io_uring *ring)
    bint uring_pop(io_uring *ring, io_uring_cqe *out)
    const io_uring_cqe *uring_last_cqe(const io_uring *ring, uint64_t user_data)
    void uring_peek(const io_uring *ring, unsigned place, io_uring_cqe *out)

    void io_uring_prep_nop(io_uring_sqe *sqe)
    void io_uring_prep_poll_add(io_uring_sqe *sqe, int fd, unsigned poll_mask)
    void io_uring_prep_poll_multishot(io_uring_sqe *sqe, int fd, unsigned poll_mask)
    void io_uring_prep_cancel64(io_uring_sqe *sqe, uint64_t user_data, int flags)
    void io_uring_prep_read(
        io_uring_sqe *sqe, int fd, void *buf, unsigned nbytes, uint64_t offset)
    void io_uring_prep_recv_multishot(
        io_uring_sqe *sqe, int sockfd, void *buf, size_t len, int flags)
    void io_uring_prep_recvmsg_multishot(
        io_uring_sqe *sqe, int fd, void *msg, unsigned flags)
    void io_uring_prep_multishot_accept(
        io_uring_sqe *sqe, int fd, void *addr, void *addrlen, int flags)

cdef extern from "uring_restrict.h" nogil:
    int uring_restrict(io_uring *ring, bint *known, bint files)

cdef extern from "uring_sleep.h" nogil:
    enum:
        URING_SPINNING
        URING_ASLEEP

    struct uring_sleep:
        pass

    void uring_pushed()
    int uring_mark(const uring_sleep *sleep)
    void uring_mark_asleep(uring_sleep *sleep)
    void uring_mark_awake(uring_sleep *sleep)
    bint uring_change_mark(uring_sleep *sleep, int given, int wanted)
    void uring_wake(uring_sleep *sleep)
    void uring_write_fd(uring_sleep *sleep)
    void uring_set_fd(uring_sleep *sleep, int fd)

cdef extern from "uring_thread.h" nogil:
    unsigned long uring_thread_token()

cdef extern from "uring_spin.h" nogil:
    int64_t uring_now_ns()
    int64_t uring_read_once(const int64_t *number)
    bint uring_spin_look(const io_uring *ring)
    bint uring_spin(
        const io_uring *ring, const uring_sleep *sleep, int64_t until_ns)

cdef extern from "uring_parked.h" nogil:
    struct uring_parked:
        io_uring_sqe *sqes
        unsigned count

    io_uring_sqe *uring_park(uring_parked *parked)
    unsigned uring_unpark(uring_parked *parked, io_uring *ring)

cdef extern from "uring_file.h" nogil:
    enum:
        IORING_OP_FSYNC
        IORING_OP_FALLOCATE
        IORING_OP_OPENAT
        IORING_OP_CLOSE
        IORING_OP_STATX
        IORING_OP_WRITE
        IORING_OP_RENAMEAT
        IORING_OP_UNLINKAT
        IORING_OP_MKDIRAT
        IORING_OP_SYMLINKAT
        IORING_OP_LINKAT
        IORING_OP_FTRUNCATE
        IORING_FSYNC_DATASYNC

    struct statx:
        pass

    ssize_t uring_read_now(int fd, void *buf, size_t size, int64_t offset)
    void io_uring_prep_rw(
        int op, io_uring_sqe *sqe, int fd, const void *addr, unsigned len,
        uint64_t offset)
    void io_uring_prep_openat(
        io_uring_sqe *sqe, int dfd, const char *path, int flags, unsigned mode)
    void io_uring_prep_close(io_uring_sqe *sqe, int fd)
    void io_uring_prep_statx(
        io_uring_sqe *sqe, int dfd, const char *path, int flags, unsigned mask,
        statx *statxbuf)
    void io_uring_prep_write(
        io_uring_sqe *sqe, int fd, const void *buf, unsigned nbytes, uint64_t offset)
    void io_uring_prep_fsync(io_uring_sqe *sqe, int fd, unsigned fsync_flags)
    void io_uring_prep_fallocate(
        io_uring_sqe *sqe, int fd, int mode, uint64_t offset, uint64_t len)
    void io_uring_prep_renameat(
        io_uring_sqe *sqe, int olddfd, const char *oldpath, int newdfd,
        const char *newpath, unsigned flags)
    void io_uring_prep_unlinkat(
        io_uring_sqe *sqe, int dfd, const char *path, int flags)
    void io_uring_prep_mkdirat(
        io_uring_sqe *sqe, int dfd, const char *path, unsigned mode)
    void io_uring_prep_symlinkat(
        io_uring_sqe *sqe, const char *target, int newdirfd, const char *linkpath)
    void io_uring_prep_linkat(
        io_uring_sqe *sqe, int olddfd, const char *oldpath, int newdfd,
        const char *newpath, int flags)


cdef extern from "uring_statx.h" nogil:
    enum:
        URING_STATX_BASIC_STATS

    struct uring_statx_timestamp:
        int64_t tv_sec
        uint32_t tv_nsec

    struct uring_statx:
        uint32_t stx_blksize
        uint32_t stx_nlink
        uint32_t stx_uid
        uint32_t stx_gid
        uint16_t stx_mode
        uint64_t stx_ino
        uint64_t stx_size
        uint64_t stx_blocks
        uring_statx_timestamp stx_atime
        uring_statx_timestamp stx_ctime
        uring_statx_timestamp stx_mtime
        uint32_t stx_rdev_major
        uint32_t stx_rdev_minor
        uint32_t stx_dev_major
        uint32_t stx_dev_minor
