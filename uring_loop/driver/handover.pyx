"""Handover: moves the operations in flight, and unread completions, to another ring.

A ring obeys one thread for ever, so a loop that another thread runs needs a new ring.
The order of the move makes it whole at every point:

1. Everything that can fail is done while the old ring is still the loop's: the new ring
   and its pools are made, the completions are copied out of the old ring's queue
   (`read`), and the bytes that they brought are copied into the new pools (`fill`).
2. The loop abandons the old ring and uses the new one. No Python code runs in between.
3. Every operation enters the new ring's ledger (`move`), and is prepared again unless
   its last completion is among those copied. No completion is acted on yet.
4. The copied completions are handed out one by one (`hand_out_one`), as if the new ring
   had posted them. An exception that leaves one of them leaves the rest for later.
"""

cimport cython
from libc.stdint cimport uintptr_t

from uring_loop.driver.buffer_pool cimport BufferPool
from uring_loop.driver.ring cimport Operation, Ring
from uring_loop.driver.uapi cimport (
    ECANCELED, IORING_CQE_BUFFER_SHIFT, IORING_CQE_F_BUFFER, IORING_CQE_F_MORE,
    io_uring_cq_ready, io_uring_cqe, uring_peek)


@cython.final
cdef class Handover:
    """The completions that a ring had posted and nobody had reaped when it ended."""

    def __cinit__(self):
        self.completions = []
        self.ended = set()

    cdef int read(self, Ring ring, Handover earlier) except -1:
        """Copy what the ring has posted, behind the rest of an earlier handover."""
        cdef io_uring_cqe cqe
        cdef Operation op
        cdef unsigned place = 0
        if earlier is not None:
            self.completions.extend(earlier.completions[earlier.done:])
        # Asked again each time round: a ring without DEFER_TASKRUN posts by itself.
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

    cdef int fill(self, BufferPool pool, BufferPool old) except -1:
        """Provide the new pool's buffers, but for those that completions name."""
        cdef Operation op
        cdef dict held = {}
        for op, res, flags in self.completions:
            if flags & IORING_CQE_F_BUFFER and op.buffer_group() == old.group:
                held[flags >> IORING_CQE_BUFFER_SHIFT] = max(res, 0)
        return pool.take_over(old, held)

    cdef int move(self, list operations, Ring ring) except -1:
        """Have the operations of the abandoned ring, newest first, in flight on this
        one. KeyboardInterrupt and its like leave when all have moved."""
        cdef Operation op
        interrupt = None
        # All at first: what runs next may cancel any of them.
        for op in reversed(operations):
            ring.adopt(op)
        for op in reversed(operations):
            if op in self.ended:
                continue
            try:
                self.move_one(op, ring)
            except BaseException as exc:
                # The operation hears an end, and its owner prepares it again.
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
        """Let the operation hear that it was cancelled."""
        self.completions.append((op, -ECANCELED, 0))
        return 0

    cdef bint hand_out_one(self, Ring ring) except -1:
        """Let an operation hear its next completion; False: there is none left."""
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
