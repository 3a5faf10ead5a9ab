/* SPDX-License-Identifier: MIT
 *
 * Faults of the epoll driver: late and reordered completions, lost races.
 *
 * What io_uring may do and this file does:
 *   - a completion arrives enters later, after completions of other requests;
 *   - a multishot receive ends with any completion, or with -ENOBUFS though buffers are
 *     free (kernels up to 6.12);
 *   - a cancel finds its request carried out just before (-ENOENT), or being carried
 *     out (-EALREADY), and the request ends later;
 *   - a sleep ends without a completion;
 *   - ready descriptors are reported in any order, also where nothing is there.
 */
#include "chaos_calls.h"

#undef uring_epoll_post
#undef uring_epoll_answer
#undef uring_epoll_flush_overflow
#undef uring_epoll_free
#undef uring_epoll_take_all
#undef uring_epoll_serve
#undef epoll_wait

#include "chaos_held.h"

#define CHAOS_EVENTS_MOST 64
#define CHAOS_EXPORTED __attribute__((visibility("default")))

/* ---- for tests/chaos/faults.py -------------------------------------------------- */

CHAOS_EXPORTED void uring_chaos_start(uint64_t seed, unsigned factor)
{
	memset(&uring_chaos, 0, sizeof(uring_chaos));
	uring_chaos.seed = seed;
	uring_chaos.factor = factor;
	uring_chaos.on = true;
}

/* What is held back is still posted. */
CHAOS_EXPORTED void uring_chaos_stop(void)
{
	uring_chaos.on = false;
}

CHAOS_EXPORTED uint64_t uring_chaos_faults(unsigned kind)
{
	return kind < CHAOS_KINDS ? uring_chaos.faults[kind] : 0;
}

CHAOS_EXPORTED uint64_t uring_chaos_decide(unsigned kind)
{
	return kind < CHAOS_KINDS ? chaos_number(&uring_chaos, kind) : 0;
}

/* URING_CHAOS_SEED starts the faults with the process, for a run of other tests. */
__attribute__((constructor)) static void chaos_from_environment(void)
{
	const char *seed = getenv("URING_CHAOS_SEED");

	if (seed)
		uring_chaos_start(strtoull(seed, NULL, 10), 1);
}

/* ---- completions ---------------------------------------------------------------- */

void uring_chaos_post(struct io_uring *ring, uint64_t user_data, int res,
		      uint32_t flags)
{
	struct io_uring_cqe cqe = {
		.user_data = user_data, .res = res, .flags = flags
	};
	bool behind, held = false;

	pthread_mutex_lock(&chaos_lock);
	behind = chaos_count(ring->epoll, &user_data) > 0;
	if (behind || chaos_now(&uring_chaos, CHAOS_DELAYED, 100))
		held = chaos_hold(ring, &cqe, false,
				  1 + chaos_number(&uring_chaos, CHAOS_DELAYED) % 4);
	pthread_mutex_unlock(&chaos_lock);
	/* No room to hold it: nothing of this request may overtake it. */
	while (behind && !held && chaos_count(ring->epoll, &user_data))
		uring_chaos_flush_overflow(ring);
	/* The flush may have filled the queue. Without memory the room stays what the
	 * caller has made sure of. */
	if (!held && !uring_epoll_has_room(ring))
		uring_epoll_reserve(ring->epoll, 1);
	if (!held)
		uring_epoll_post(ring, user_data, res, flags);
}

void uring_chaos_answer(struct io_uring *ring, unsigned sqe_flags, uint64_t user_data,
			int res)
{
	if (res < 0 || !(sqe_flags & IOSQE_CQE_SKIP_SUCCESS))
		uring_chaos_post(ring, user_data, res, 0);
}

/* Post what is due, one by one from a random place on. */
static void chaos_release(struct io_uring *ring)
{
	unsigned i = 0;

	while (i < chaos_held_count) {
		struct chaos_held *held = &chaos_held[i];

		if (held->ep != ring->epoll || held->cancel || held->enters_left ||
		    !chaos_is_oldest(i) || uring_epoll_reserve(ring->epoll, 1) < 0) {
			i++;
			continue;
		}
		uring_epoll_post(ring, held->cqe.user_data, held->cqe.res,
				 held->cqe.flags);
		chaos_remove(i);
		i = 0;
	}
}

/* Each enter that may sleep comes here first. */
void uring_chaos_flush_overflow(struct io_uring *ring)
{
	uring_epoll_flush_overflow(ring);
	pthread_mutex_lock(&chaos_lock);
	for (unsigned i = 0; i < chaos_held_count; i++)
		if (chaos_held[i].ep == ring->epoll && chaos_held[i].enters_left)
			chaos_held[i].enters_left--;
	chaos_release(ring);
	pthread_mutex_unlock(&chaos_lock);
}

void uring_chaos_free(struct uring_epoll *ep)
{
	chaos_forget(ep);
	uring_epoll_free(ep);
}

/* ---- entries -------------------------------------------------------------------- */

/* Carry out what is ready already: the race that a cancel in the queue loses. */
static void chaos_serve_all(struct io_uring *ring)
{
	struct epoll_event events[CHAOS_EVENTS_MOST];
	int count = epoll_wait(ring->ring_fd, events, CHAOS_EVENTS_MOST, 0);

	for (int i = 0; i < count; i++)
		uring_chaos_serve(ring, &events[i], false);
}

/* End the requests whose cancel has been told -EALREADY by an earlier enter. */
static void chaos_finish_cancels(struct io_uring *ring)
{
	struct uring_epoll_request *request;
	struct chaos_held held;

	for (unsigned i = 0; i < chaos_held_count;) {
		held = chaos_held[i];
		if (held.ep != ring->epoll || !held.cancel ||
		    uring_epoll_reserve(ring->epoll, 1) < 0) {
			i++;
			continue;
		}
		pthread_mutex_lock(&chaos_lock);
		chaos_remove(i);
		pthread_mutex_unlock(&chaos_lock);
		request = uring_epoll_find(ring->epoll, held.cqe.user_data);
		if (request) {
			uring_epoll_end_request(ring->epoll, request);
			uring_chaos_post(ring, held.cqe.user_data, -ECANCELED, 0);
		}
	}
}

/* Turn some cancels in the queue into NOPs: the request ends with the next enter. */
static void chaos_delay_cancels(struct io_uring *ring)
{
	struct uring_epoll *ep = ring->epoll;

	for (unsigned at = ep->sq_head; at != ep->sq_tail; at++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[at & ring->sq.ring_mask];
		struct io_uring_cqe target = { .user_data = sqe->addr };
		bool held;

		if (sqe->opcode != IORING_OP_ASYNC_CANCEL ||
		    !uring_epoll_find(ep, sqe->addr) ||
		    !chaos_now(&uring_chaos, CHAOS_CANCEL_LATE, 200))
			continue;
		pthread_mutex_lock(&chaos_lock);
		held = chaos_hold(ring, &target, true, 1);
		pthread_mutex_unlock(&chaos_lock);
		if (held && uring_epoll_reserve(ep, 1) == 0)
			uring_chaos_answer(ring, sqe->flags, sqe->user_data, -EALREADY);
		if (!held)
			continue;
		sqe->opcode = IORING_OP_NOP;
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->rw_flags = 0;
	}
}

int uring_chaos_take_all(struct io_uring *ring)
{
	chaos_finish_cancels(ring);
	if (ring->epoll->sq_head != ring->epoll->sq_tail &&
	    chaos_now(&uring_chaos, CHAOS_CANCEL_LOSES, 200))
		chaos_serve_all(ring);
	chaos_delay_cancels(ring);
	return uring_epoll_take_all(ring);
}

/* ---- events --------------------------------------------------------------------- */

/* The multishot receive of this descriptor, if it has one. */
static struct uring_epoll_request *chaos_multishot(struct uring_epoll_descriptor *d)
{
	struct uring_epoll_request *request = d->requests.first;

	while (request && !(request->multishot &&
			    request->sqe_flags & IOSQE_BUFFER_SELECT))
		request = request->next;
	return request;
}

void uring_chaos_serve(struct io_uring *ring, const struct epoll_event *event,
		       bool sleeps)
{
	int fd = (int)(uint32_t)event->data.u64;
	struct uring_epoll_descriptor *d = uring_epoll_descriptor_of(ring->epoll, fd);
	struct uring_epoll_request *request = d ? chaos_multishot(d) : NULL;
	struct epoll_event told = *event;

	if (request && chaos_now(&uring_chaos, CHAOS_MULTISHOT_ENDS, 50))
		request->multishot = false;
	if (request && uring_epoll_has_room(ring) &&
	    chaos_now(&uring_chaos, CHAOS_POOL_EMPTY, 20)) {
		uint64_t user_data = request->user_data;

		uring_epoll_end_request(ring->epoll, request);
		uring_chaos_post(ring, user_data, -ENOBUFS, 0);
	}
	/* Of sockets only: reads of other descriptors may block. */
	if (d && d->registered && chaos_is_socket(fd) &&
	    chaos_now(&uring_chaos, CHAOS_SPURIOUS, 20))
		told.events |= d->interest & (EPOLLIN | EPOLLOUT);
	chaos_on_edge = d && d->edge;
	uring_epoll_serve(ring, &told, sleeps);
	chaos_on_edge = false;
}

static int chaos_shuffle(struct epoll_event *events, int count)
{
	for (int i = count - 1; i > 0; i--) {
		int other = (int)(chaos_number(&uring_chaos, CHAOS_ORDER) % (i + 1));
		struct epoll_event event = events[i];

		events[i] = events[other];
		events[other] = event;
	}
	return count;
}

static int chaos_interrupt(void)
{
	errno = EINTR;
	return -1;
}

int uring_chaos_epoll_wait(int set, struct epoll_event *events, int most,
			   int timeout_ms)
{
	bool held = chaos_set_has_held(set);
	int count;

	if (timeout_ms && !held &&
	    chaos_now(&uring_chaos, CHAOS_WAIT_INTERRUPTED, 50))
		return chaos_interrupt();
	count = epoll_wait(set, events, most, held ? 0 : timeout_ms);
	if (count == 0 && held && timeout_ms)
		return chaos_interrupt();
	if (count > 1 && chaos_now(&uring_chaos, CHAOS_ORDER, 500))
		return chaos_shuffle(events, count);
	return count;
}

long uring_chaos_epoll_pwait2(long number, int set, struct epoll_event *events,
			      int most, struct __kernel_timespec *ts, void *mask,
			      size_t size)
{
	if (chaos_set_has_held(set) ||
	    chaos_now(&uring_chaos, CHAOS_WAIT_INTERRUPTED, 50)) {
		int count = uring_chaos_epoll_wait(set, events, most, 0);

		return count ? count : chaos_interrupt();
	}
	return syscall(number, set, events, most, ts, mask, size);
}
