"""Entry of `python -m benchmarks`: --help and --list need no package of PyPI."""

from benchmarks.compare import arguments


def main():
    options = arguments.parse()
    if options.list:
        arguments.list_scenarios()
        return 0
    # Says what is missing, and ends.
    from benchmarks.compare import command
    return command.main(options)
