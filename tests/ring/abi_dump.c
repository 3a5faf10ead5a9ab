/* SPDX-License-Identifier: MIT
 *
 * Prints the io_uring ABI as a header has it: ours, or with -DREFERENCE liburing's.
 *
 * abi_names.h is made by test_abi.py of the names found in our header, CONSTANT(name)
 * and FIELD(struct, name) and SIZE(struct), so that none can be forgotten. The two
 * outputs are compared line by line.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef REFERENCE
#include <liburing.h>
#define URING_SYS_SETUP    __NR_io_uring_setup
#define URING_SYS_ENTER    __NR_io_uring_enter
#define URING_SYS_REGISTER __NR_io_uring_register
#include <sys/syscall.h>
/* Newer ones clear an entry when they hand it out, not when it is filled. */
#define BEFORE 0
#else
#include "uring.h"
#define BEFORE 0xFF
#include "uring_file.h"
#endif

#define CONSTANT(name) \
	printf("constant %s %llu\n", #name, (unsigned long long)(name));
#define SIZE(type) printf("size %s %zu\n", #type, sizeof(struct type));
/* The distance to the next field would show a wrong width; a flexible array has no
 * sizeof. Signs show in the entries below, where negative numbers are filled in. */
#define FIELD(type, name) \
	printf("offset %s.%s %zu\n", #type, #name, offsetof(struct type, name));
#define WIDTH(type, name) \
	printf("width %s.%s %zu\n", #type, #name, sizeof(((struct type *)0)->name));

static void print_bytes(const char *what, const void *memory, size_t size)
{
	const unsigned char *bytes = memory;

	printf("%s ", what);
	for (size_t i = 0; i < size; i++)
		printf("%02x", bytes[i]);
	putchar('\n');
}

/* Each helper of ours gets an entry full of garbage; user_data, which none of them
 * needs to write, is set afterwards. */
#define PREP(name, ...) do {						\
	struct io_uring_sqe sqe;					\
									\
	memset(&sqe, BEFORE, sizeof(sqe));				\
	io_uring_prep_##name(__VA_ARGS__);				\
	io_uring_sqe_set_data64(&sqe, 0xA1A2A3A4A5A6A7A8ULL);		\
	print_bytes("prep " #name, &sqe, sizeof(sqe));			\
} while (0)

static void *at(uintptr_t address)
{
	return (void *)address;
}

static void print_entries(void)
{
	PREP(rw, 0x5C, &sqe, 0x11121314, at(0x2122232425262728), 0x31323334,
	     0x4142434445464748ULL);
	PREP(nop, &sqe);
	PREP(poll_add, &sqe, 0x11121314, 0x81828384);
	PREP(poll_multishot, &sqe, 0x11121314, 0x81828384);
	PREP(cancel64, &sqe, 0x2122232425262728ULL, 0x31323334);
	PREP(read, &sqe, 0x11121314, at(0x2122232425262728), 0x31323334,
	     0x4142434445464748ULL);
	PREP(recv, &sqe, 0x11121314, at(0x2122232425262728), 0x31323334, 0x41424344);
	PREP(recv_multishot, &sqe, 0x11121314, at(0x2122232425262728), 0x31323334,
	     0x41424344);
	PREP(recvmsg_multishot, &sqe, 0x11121314, at(0x2122232425262728), 0x41424344);
	PREP(accept, &sqe, 0x11121314, at(0x2122232425262728),
	     at(0x3132333435363738), 0x41424344);
	PREP(multishot_accept, &sqe, -2, at(0x2122232425262728),
	     at(0x3132333435363738), -3);
}

static void print_file_entries(void)
{
	const char *path = at(0x2122232425262728), *other = at(0x3132333435363738);

	PREP(openat, &sqe, 0x11121314, path, 0x41424344, 0x51525354);
	PREP(close, &sqe, 0x11121314);
	PREP(statx, &sqe, 0x11121314, path, 0x41424344, 0x51525354,
	     at(0x3132333435363738));
	PREP(write, &sqe, 0x11121314, path, 0x31323334, 0x4142434445464748ULL);
	PREP(fsync, &sqe, 0x11121314, 0x41424344);
	PREP(fallocate, &sqe, 0x11121314, 0x41424344, 0x2122232425262728,
	     0x3132333435363738);
	PREP(renameat, &sqe, 0x11121314, path, -100, other, 0x41424344);
	PREP(unlinkat, &sqe, -100, path, 0x41424344);
	PREP(mkdirat, &sqe, -100, path, 0x41424344);
	PREP(symlinkat, &sqe, path, -100, other);
	PREP(linkat, &sqe, 0x11121314, path, -100, other, 0x41424344);
}

static void print_buffer_ring(unsigned short tail)
{
	union {
		struct io_uring_buf_ring ring;
		struct io_uring_buf entries[4];
	} memory;
	int mask = io_uring_buf_ring_mask(4);

	memset(&memory, 0xFF, sizeof(memory));
	memory.ring.tail = tail;
	io_uring_buf_ring_add(&memory.ring, at(0x1112131415161718), 0x21222324,
			      0x3132, mask, 0);
	io_uring_buf_ring_add(&memory.ring, at(0x4142434445464748), 0x51525354,
			      0x6162, mask, 1);
	print_bytes("buffer ring added", &memory, sizeof(memory));
	io_uring_buf_ring_advance(&memory.ring, 2);
	print_bytes("buffer ring advanced", &memory, sizeof(memory));
}

int main(void)
{
#include "abi_names.h"
	print_entries();
	print_file_entries();
	for (unsigned tail = 0; tail < 4; tail++)
		print_buffer_ring((unsigned short)tail);
	print_buffer_ring(65534);
	print_buffer_ring(65535);
	return 0;
}
