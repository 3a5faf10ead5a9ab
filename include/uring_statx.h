/* SPDX-License-Identifier: MIT
 *
 * The kernel's struct statx, under a name of our own.
 *
 * The C library's struct has the same layout but is missing on the systems that build
 * wheels. The field names are the kernel's.
 */
#ifndef URING_STATX_H
#define URING_STATX_H

#include <stdint.h>

#define URING_STATX_BASIC_STATS 0x7ffU

struct uring_statx_timestamp {
	int64_t  tv_sec;
	uint32_t tv_nsec;
	int32_t  __reserved;
};

struct uring_statx {
	uint32_t stx_mask;
	uint32_t stx_blksize;
	uint64_t stx_attributes;
	uint32_t stx_nlink;
	uint32_t stx_uid;
	uint32_t stx_gid;
	uint16_t stx_mode;
	uint16_t __spare0[1];
	uint64_t stx_ino;
	uint64_t stx_size;
	uint64_t stx_blocks;
	uint64_t stx_attributes_mask;
	struct uring_statx_timestamp stx_atime;
	struct uring_statx_timestamp stx_btime;
	struct uring_statx_timestamp stx_ctime;
	struct uring_statx_timestamp stx_mtime;
	uint32_t stx_rdev_major;
	uint32_t stx_rdev_minor;
	uint32_t stx_dev_major;
	uint32_t stx_dev_minor;
	uint64_t stx_mnt_id;
	uint32_t stx_dio_mem_align;
	uint32_t stx_dio_offset_align;
	uint64_t __spare3[12];
};

#endif
