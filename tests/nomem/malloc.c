/* Fails chosen calls of malloc(3) and its kin: preloaded, for tests/nomem only. */

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* glibc's own functions, by the names that it has for replacements. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static atomic_bool counting;
static atomic_long number, first, behind;

/* From now on, calls of all threads are counted from 0; those from `from` on fail,
 * `count` of them. */
void nomem_begin(long from, long count)
{
	number = 0;
	first = from;
	behind = from + count;
	counting = true;
}

/* How many calls there were since the beginning. */
long nomem_end(void)
{
	counting = false;
	return number;
}

static bool fails(void)
{
	long now;

	if (!counting)
		return false;
	now = number++;
	if (now < first || now >= behind)
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
	return fails() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
	/* A size of 0 frees. */
	return size && fails() ? NULL : __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
	return fails() ? NULL : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **found, size_t alignment, size_t size)
{
	*found = memalign(alignment, size);
	return *found ? 0 : ENOMEM;
}
