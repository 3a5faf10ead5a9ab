"""Benchmarks that compare event loops inside one run: `python -m benchmarks`.

Commands: `python -m benchmarks` (docs/performance.md), `python -m benchmarks.regress`
(counts against judge/regress.toml), `python -m benchmarks.fio`
(docs/files-performance.md), `python -m benchmarks.threads` (docs/threads.md).
Each folder imports only from the folders above it:

    scenarios/  what is run: the list of rows, servers, micro bodies, names of loops
    measure/    how a process is watched: CPU time, system calls, samples, instructions
    load/       how a scenario is loaded: the C client, wrk, bodies inside the process
    judge/      ratios, goals, losses with their reasons, counts against a reference
    pages/      the tables and charts of docs/performance.md and of the terminal
    compare/    one run: slices in shuffled order, stored in results/
    files/      the file benchmark beside fio
    scaling/    what a second thread brings without a GIL

A row of a table: scenarios/catalogue.py has its name and parameters; its `kind` is a
key of KINDS in scenarios/servers.py or of BODIES in scenarios/micro.py; its `runner`
is a key of RUNNERS in compare/comparison.py, which names a class of load/.
"""
