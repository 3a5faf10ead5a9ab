"""Handover: moves the operations in flight, and unread completions, to another ring.

An io_uring instance is bound to one thread for ever, so a loop that another thread runs
needs a new ring. The move is done in an order that keeps the loop consistent at every
point:

1. Everything that can fail is done while the loop still uses the old ring: the new ring
   and its pools are made, the completions are copied out of the old ring's queue
   (`read`), and the received bytes are copied into the new pools (`fill`).
2. The loop abandons the old ring and uses the new one. No Python code runs in between.
3. Every operation enters the new ring's ledger (`move`), and is prepared again unless
   its last completion is among the copied ones. No completion is handed out yet.
4. The copied completions are handed out one by one (`hand_out_one`), as if the new ring
   had posted them. After an exception the remaining ones are handed out later.
"""

cimport cython
from libc.stdint cimport uintptr_t

from uring_loop.driver.buffer_pool cimport BufferPool
from uring_loop.driver.ring cimport Operation, Ring
from uring_loop.driver.uapi cimport (
    ECANCELED, IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER, IORING_CQE_F_MORE,
    io_uring_cq_ready, io_uring_cqe, uring_peek, uring_pop)


@cython.final
cdef class Handover:
    """The completions that a closed ring had posted and that were not reaped."""

    def __cinit__(self):
        self.completions = []
        self.ended = set()

    cdef int read(self, Ring ring, Handover earlier) except -1:
        """Copy the posted completions, behind those left from an earlier handover."""
        cdef io_uring_cqe cqe
        cdef Operation op
        cdef unsigned place = 0
        if earlier is not None:
            self.completions.extend(earlier.completions[earlier.done:])
        # Read the tail in each round: without DEFER_TASKRUN the kernel may post now.
        while place < io_uring_cq_ready(&ring.ring):
            uring_peek(&ring.ring, place, &cqe)
            place += 1
            if cqe.user_data:
                op = <Operation><void *><uintptr_t>cqe.user_data
                self.completions.append((op, cqe.res, cqe.flags))
        for op, _, flags in self.completions:
            if not flags & IORING_CQE_F_MORE:
                self.ended.add(op)
        return 0

    cdef int set_aside(self, Ring ring) except -1:
        """Take the posted completions out of the ring's queue, to be handed out later
        on the same ring or another."""
        cdef io_uring_cqe cqe
        while io_uring_cq_ready(&ring.ring):
            uring_peek(&ring.ring, 0, &cqe)
            if cqe.user_data:
                self.completions.append((
                    <Operation><void *><uintptr_t>cqe.user_data, cqe.res, cqe.flags))
            # Popped last: without memory for the list it stays in the queue.
            uring_pop(&ring.ring, &cqe)
        return 0

    cdef int fill(self, BufferPool pool, BufferPool old) except -1:
        """Provide the new pool's buffers, except those that copied completions name."""
        cdef Operation op
        cdef dict held = {}
        for op, res, flags in self.completions:
            if flags & IORING_CQE_F_BUFFER and op.buffer_group() == old.group:
                held[flags >> IORING_CQE_BUFFER_SHIFT] = max(res, 0)
        return pool.take_over(old, held)

    cdef int move(self, list operations, Ring ring) except -1:
        """Put the operations of the abandoned ring (newest first) in flight on this
        one. An exception such as KeyboardInterrupt is raised after all have moved."""
        cdef Operation op
        interrupt = None
        # Adopt all first: the code that runs next may cancel any of them.
        for op in reversed(operations):
            ring.adopt(op)
        for op in reversed(operations):
            if op in self.ended:
                continue
            try:
                self.move_one(op, ring)
            except BaseException as exc:
                # The operation gets a completion, and its owner prepares it again.
                self.end(op)
                interrupt = exc
        if interrupt is not None:
            raise interrupt
        return 0

    cdef int move_one(self, Operation op, Ring ring) except -1:
        if not op.abandoned():
            ring.unlink(op)
        elif op.cancel_requested:
            self.end(op)
        else:
            ring.prepare_adopted(op)
            op.moved()
        return 0

    cdef int end(self, Operation op) except -1:
        """Add a completion that tells the operation of a cancellation."""
        self.completions.append((op, -ECANCELED, 0))
        return 0

    cdef bint hand_out_one(self, Ring ring) except -1:
        """Hand the next copied completion to its operation; False: none is left."""
        cdef Operation op
        if self.done == len(self.completions):
            return False
        op, res, flags = self.completions[self.done]
        self.done += 1
        ring.completion_count += 1
        if not flags & IORING_CQE_F_MORE:
            ring.unlink(op)
        op.complete(res, flags)
        return True
