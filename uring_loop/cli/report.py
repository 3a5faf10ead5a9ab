"""Shows the doctor's report as tables."""

from uring_loop.cli.output import Cell, Printer

RESULTS = {
    0: ("all is well", "ok"),
    1: ("works, and could be better", "warn"),
    2: ("something does not work", "bad"),
}


def show(found, plain):
    printer = Printer(plain)
    versions = found["versions"]
    printer.line(f"uring_loop {versions['uring_loop']} on {versions['implementation']} "
                 f"{versions['python']}, Linux {found['kernel']['release']}")
    for title, rows in (("Driver", driver_rows(found["driver"])),
                        ("System", system_rows(found)),
                        ("Versions", version_rows(versions))):
        printer.title(title)
        printer.table(rows)
    printer.title("Self-test")
    drivers = list(found["self_test"])
    printer.table(test_rows(found["self_test"]), ["", *drivers])
    for driver, outcome in found["self_test"].items():
        if "refused" in outcome:
            printer.line(f"  {driver} refused: {outcome['refused']}")
    closing(printer, found)


def closing(printer, found):
    for title, lines, mark in (("Does not work", found["problems"], "bad"),
                               ("Could be better", found["advice"], "warn")):
        if lines:
            printer.title(title)
        for line in lines:
            printer.line(f"  {line}", mark)
    text, mark = RESULTS[found["status"]]
    printer.title("Result")
    printer.line(f"  {text} (exit status {found['status']})", mark)


def driver_rows(driver):
    if "error" in driver:
        return [("asked for", driver["requested"]),
                ("chosen", Cell("none", "bad")),
                ("why", driver["error"])]
    preferred = driver["chosen"] == "io_uring" or driver["requested"] != "auto"
    rows = [("asked for", driver["requested"]),
            ("chosen", Cell(driver["chosen"], "ok" if preferred else "warn")),
            ("why", driver["reason"])]
    if driver["chosen"] == "io_uring":
        rows.append(("flags granted", ", ".join(driver["flags"])))
        rows.append(("flags refused", "none" if not driver["refused"] else "; ".join(
            f"{name}: {why}" for name, why in driver["refused"].items())))
        rows.append(("queues", f"{driver['sq_entries']} submissions, "
                               f"{driver['cq_entries']} completions"))
    if driver["chosen"] == "io_uring" or driver["restrict"]:
        rows.append(("restricted", restricted(driver)))
    rows.append(
        ("TLS engine", f"{driver['tls_engine']}: {driver['tls_engine_reason']}"))
    return rows


def restricted(driver):
    """What the kernel serves on the ring, in the words of docs/security.md."""
    if driver["chosen"] == "epoll":
        return "no: epoll has no ring to restrict"
    return {False: "no", True: Cell("yes: to what sockets need", "ok"),
            "files": Cell("yes: to what sockets and files need", "ok"),
            }[driver["restricted"]]


def system_rows(found):
    kernel, process, cpus = found["kernel"], found["process"], found["cpus"]
    return [
        ("kernel", f"{kernel['release']} {kernel['machine']}"),
        ("sysctl io_uring_disabled", sysctl(kernel)),
        ("seccomp", seccomp(process)),
        ("user id", str(process["uid"])),
        ("RLIMIT_MEMLOCK", memlock(found["memlock"])),
        ("RLIMIT_NOFILE", "no limit" if found["descriptors"] is None
         else f"{found['descriptors']} descriptors"),
        ("CPUs", cpu_text(cpus)),
    ]


def sysctl(kernel):
    value, group = kernel["io_uring_disabled"], kernel["io_uring_group"]
    if value is None:
        return "not there: before Linux 6.6, or /proc is not mounted"
    meaning = {0: Cell("0: everybody may use io_uring", "ok"),
               1: Cell("1: only root and the group in io_uring_group "
                       f"({group}) may use io_uring", "warn"),
               2: Cell("2: nobody may use io_uring", "warn")}
    return meaning.get(value, str(value))


def seccomp(process):
    text = process["seccomp"]
    if process["seccomp_filters"]:
        text += f", {process['seccomp_filters']} installed"
    if process["no_new_privileges"]:
        text += ", no new privileges"
    return text


def memlock(limits):
    limit = "no limit" if limits["limit"] is None else f"{limits['limit'] >> 10} KiB"
    if limits["counts"] is None:
        return limit
    if not limits["counts"]:
        return f"{limit}; rings do not count against it here"
    if limits["loops"] is None:
        return limit
    return f"{limit}: room for {limits['loops']} loops of this user at a time"


def cpu_text(cpus):
    text = f"{cpus['usable']} usable of {cpus['online']}"
    if cpus["quota"] is not None:
        text += f", time of {cpus['quota']:g} by cgroup"
    return text


def version_rows(versions):
    rows = [("Python", f"{versions['python']}, {versions['executable']}"),
            ("OpenSSL", versions["openssl"]), ("libc", versions["libc"])]
    return rows + sorted(versions["packages"].items())


def test_rows(outcomes):
    """A row for each step, a column for each driver."""
    names = {name: None for outcome in outcomes.values()
             for name in outcome.get("steps", {})}
    return [(name, *(step_cell(outcome, name) for outcome in outcomes.values()))
            for name in names]


def step_cell(outcome, name):
    step = outcome.get("steps", {}).get(name)
    if step is None:
        return Cell("refused", "warn")
    if "error" in step:
        return Cell("FAILED", "bad")
    return Cell(f"ok {step['seconds'] * 1000:.1f} ms", "ok")
