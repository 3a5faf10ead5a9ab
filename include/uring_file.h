/* SPDX-License-Identifier: MIT
 *
 * Fills submission queue entries of operations on files and paths.
 *
 * The rules are those of uring_prep.h. The comment above each function names the first
 * kernel with the operation; the loop probes the running kernel for it.
 */
#ifndef URING_FILE_H
#define URING_FILE_H

#include <errno.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "uring_prep.h"

/* Read from the page cache without waiting: a count or -errno; -EAGAIN if the data has
 * to come from the disk. Cached data is read by a direct system call, since the ring
 * gains nothing there. Without preadv2 in the C library (before glibc 2.26) all reads
 * go through the ring. */
static inline ssize_t uring_read_now(int fd, void *buf, size_t size, off_t offset)
{
#ifdef RWF_NOWAIT
	struct iovec part = { .iov_base = buf, .iov_len = size };
	ssize_t res = preadv2(fd, &part, 1, offset, RWF_NOWAIT);

	return res < 0 ? -errno : res;
#else
	(void)fd, (void)buf, (void)size, (void)offset;
	return -EOPNOTSUPP;
#endif
}

/* 5.6 */
static inline void io_uring_prep_openat(struct io_uring_sqe *sqe, int dfd,
					const char *path, int flags, unsigned mode)
{
	io_uring_prep_rw(IORING_OP_OPENAT, sqe, dfd, path, mode, 0);
	sqe->open_flags = (uint32_t)flags;
}

/* 5.6 */
static inline void io_uring_prep_close(struct io_uring_sqe *sqe, int fd)
{
	io_uring_prep_rw(IORING_OP_CLOSE, sqe, fd, NULL, 0, 0);
}

struct statx;

/* 5.6 */
static inline void io_uring_prep_statx(struct io_uring_sqe *sqe, int dfd,
				       const char *path, int flags, unsigned mask,
				       struct statx *statxbuf)
{
	io_uring_prep_rw(IORING_OP_STATX, sqe, dfd, path, mask,
			 (uint64_t)(uintptr_t)statxbuf);
	sqe->statx_flags = (uint32_t)flags;
}

/* 5.6 */
static inline void io_uring_prep_write(struct io_uring_sqe *sqe, int fd,
				       const void *buf, unsigned nbytes,
				       uint64_t offset)
{
	io_uring_prep_rw(IORING_OP_WRITE, sqe, fd, buf, nbytes, offset);
}

static inline void io_uring_prep_fsync(struct io_uring_sqe *sqe, int fd,
				       unsigned fsync_flags)
{
	io_uring_prep_rw(IORING_OP_FSYNC, sqe, fd, NULL, 0, 0);
	sqe->fsync_flags = fsync_flags;
}

/* 5.6 */
static inline void io_uring_prep_fallocate(struct io_uring_sqe *sqe, int fd, int mode,
					   uint64_t offset, uint64_t len)
{
	io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fd, NULL, (unsigned)mode, offset);
	sqe->addr = len;
}

/* 5.11 */
static inline void io_uring_prep_renameat(struct io_uring_sqe *sqe, int olddfd,
					  const char *oldpath, int newdfd,
					  const char *newpath, unsigned flags)
{
	io_uring_prep_rw(IORING_OP_RENAMEAT, sqe, olddfd, oldpath, (unsigned)newdfd,
			 (uint64_t)(uintptr_t)newpath);
	sqe->rename_flags = flags;
}

/* 5.11 */
static inline void io_uring_prep_unlinkat(struct io_uring_sqe *sqe, int dfd,
					  const char *path, int flags)
{
	io_uring_prep_rw(IORING_OP_UNLINKAT, sqe, dfd, path, 0, 0);
	sqe->unlink_flags = (uint32_t)flags;
}

/* 5.15 */
static inline void io_uring_prep_mkdirat(struct io_uring_sqe *sqe, int dfd,
					 const char *path, unsigned mode)
{
	io_uring_prep_rw(IORING_OP_MKDIRAT, sqe, dfd, path, mode, 0);
}

/* 5.15 */
static inline void io_uring_prep_symlinkat(struct io_uring_sqe *sqe,
					   const char *target, int newdirfd,
					   const char *linkpath)
{
	io_uring_prep_rw(IORING_OP_SYMLINKAT, sqe, newdirfd, target, 0,
			 (uint64_t)(uintptr_t)linkpath);
}

/* 5.15 */
static inline void io_uring_prep_linkat(struct io_uring_sqe *sqe, int olddfd,
					const char *oldpath, int newdfd,
					const char *newpath, int flags)
{
	io_uring_prep_rw(IORING_OP_LINKAT, sqe, olddfd, oldpath, (unsigned)newdfd,
			 (uint64_t)(uintptr_t)newpath);
	sqe->hardlink_flags = (uint32_t)flags;
}

#endif
