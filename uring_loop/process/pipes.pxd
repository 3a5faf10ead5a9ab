from uring_loop.scheduler.loop_core cimport LoopCore
