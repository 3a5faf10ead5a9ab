from uring_loop._loop cimport LoopCore
