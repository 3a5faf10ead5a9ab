"""With no descriptor left a loop says EMFILE, and works again when there are some."""

import pytest

from ..stress import children
from . import everything, kit

STARVE = """
import resource
os.chdir({folder!r})
loop = new_loop()
loop.set_exception_handler(lambda loop, context: None)

def starve(hard):
    limit = max(map(int, os.listdir("/proc/self/fd"))) + {spare} + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    fillers = []
    try:
        while True:
            fillers.append(os.dup(0))
    except OSError:
        for _ in range({spare}):
            os.close(fillers.pop())
        return fillers

async def starving(hard):
    fillers = starve(hard)
    try:
        return await attempt_all(loop, 0.3)
    finally:
        for number in fillers:
            os.close(number)

async def main():
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    tell(await starving(soft[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, soft)
    print("afterwards", flush=True)
    tell(await attempt_all(loop))

loop.run_until_complete(main())
loop.close()
"""

# "OSError" without a number is asyncio's own, for several addresses that all failed.
# A server that cannot accept lets its client wait.
RIGHT = {"ok", "EMFILE", "OSError", "gaierror", "TimeoutError"}
REFUSED = ("unix", "udp", "pipes", "sockets", "sock_connect", "subprocess")


@pytest.mark.parametrize("spare", [0, 2])
@kit.every_name
def test_without_descriptors(loop_name, spare, tmp_path):
    words = children.run(
        everything.source(loop_name, tmp_path)
        + STARVE.format(folder=str(tmp_path), spare=spare), loop_name)
    border = words.index("afterwards")
    starved = everything.results(words[:border])
    if loop_name == kit.STOCK:
        # asyncio imports the thread pool when it is first used.
        for name in everything.IN_A_THREAD:
            del starved[name]
    for name, result in starved.items():
        chain = result.split("<-")
        assert chain[0] in RIGHT, f"{name}: {result}"
        assert not {"ImportError", "ModuleNotFoundError"} & set(chain), name
    if spare == 0:
        assert {name: starved[name] for name in REFUSED} == dict.fromkeys(
            REFUSED, "EMFILE")
    afterwards = everything.results(words[border:])
    assert set(afterwards.values()) == {"ok"}, afterwards
