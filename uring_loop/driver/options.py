"""Checks the options of a loop and its ring before either is made."""

import os

DRIVERS = ("io_uring", "epoll")

TASKRUN = ("defer", "coop")
GATHER_VARIABLE = "URING_LOOP_GATHER_WRITES"
TLS_VARIABLE = "URING_LOOP_TLS"
TLS_ENGINES = ("auto", "stdlib")
GATHER_VALUES = {"": True, "1": True, "0": False}
RESTRICT_VARIABLE = "URING_LOOP_RESTRICT"
RESTRICT_VALUES = {"": False, "0": False, "1": True, "files": "files"}


def check_driver(driver):
    """Raise ValueError for an unknown driver."""
    if driver not in DRIVERS:
        raise ValueError(f"driver must be one of {', '.join(DRIVERS)}, not {driver!r}")


def check_taskrun(taskrun, single_issuer):
    """Raise ValueError for an unknown mode, or for one that needs a single issuer."""
    if taskrun not in TASKRUN:
        raise ValueError(
            f"taskrun must be one of {', '.join(TASKRUN)}, not {taskrun!r}")
    if taskrun == "defer" and not single_issuer:
        raise ValueError(
            "single_issuer=False needs taskrun='coop': the kernel defers task work "
            "(taskrun='defer') only for a single issuer")


def check_options(taskrun, sq_entries, single_issuer):
    """The options of a Ring as a dict; raises ValueError."""
    if not isinstance(single_issuer, bool):
        raise ValueError(
            f"single_issuer must be True or False, not {single_issuer!r}")
    check_taskrun(taskrun, single_issuer)
    if (not isinstance(sq_entries, int) or not 8 <= sq_entries <= 32768
            or sq_entries & (sq_entries - 1)):
        raise ValueError(
            f"sq_entries must be a power of two from 8 to 32768, not {sq_entries!r}")
    return {"taskrun": taskrun, "sq_entries": sq_entries,
            "single_issuer": single_issuer}


def requested_gathering(gather_writes):
    """The argument, else the environment's, else True; ValueError for anything else."""
    if gather_writes is None:
        value = os.environ.get(GATHER_VARIABLE, "")
        if value not in GATHER_VALUES:
            raise ValueError(f"{GATHER_VARIABLE} must be 0 or 1, not {value!r}")
        return GATHER_VALUES[value]
    if not isinstance(gather_writes, bool):
        raise ValueError(f"gather_writes must be True or False, not {gather_writes!r}")
    return gather_writes


def requested_restriction(restrict):
    """The argument, else the environment's, else False; ValueError for anything but
    True, False and "files"."""
    if restrict is None:
        value = os.environ.get(RESTRICT_VARIABLE, "")
        if value not in RESTRICT_VALUES:
            raise ValueError(
                f"{RESTRICT_VARIABLE} must be 0, 1 or files, not {value!r}")
        return RESTRICT_VALUES[value]
    if not isinstance(restrict, bool) and restrict != "files":
        raise ValueError(
            f'restrict must be True, False or "files", not {restrict!r}')
    return restrict


def requested_tls(tls):
    """The argument, else the environment's, else "auto"; ValueError if unknown."""
    source = "tls"
    if tls is None:
        tls = os.environ.get(TLS_VARIABLE) or "auto"
        source = TLS_VARIABLE
    if tls not in TLS_ENGINES:
        raise ValueError(
            f"{source} must be one of {', '.join(TLS_ENGINES)}, not {tls!r}")
    return tls
