"""asyncio without policies, as from Python 3.16 on: simulated by deleting them."""

from .test_imports import run

DELETE = """
import asyncio
from asyncio import events, unix_events

for module in (asyncio, events, unix_events):
    for name in [n for n, value in vars(module).items()
                 if "policy" in n.lower() and callable(value)]:
        delattr(module, name)
assert not hasattr(asyncio, "set_event_loop_policy")
assert not hasattr(events, "_get_event_loop_policy")
import uring_loop
"""
USE = """
async def echo(reader, writer):
    writer.write(await reader.read())
    writer.close()

async def main():
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"echoed")
    writer.write_eof()
    print((await reader.read()).decode())
    writer.close()
    server.close()
    process = await asyncio.create_subprocess_exec("echo", "a process", stdout=-1)
    print((await process.communicate())[0].decode().strip())
    print(await loop.run_in_executor(None, str, "an executor"))
    thread = uring_loop.IOThread()
    print(thread.run(asyncio.sleep(0, "a thread")).result())
    thread.stop()
    return "the end"

print(uring_loop.run(main()))
with asyncio.Runner(loop_factory=uring_loop.new_event_loop) as runner:
    print(runner.run(asyncio.sleep(0, "a runner")))
loop = uring_loop.new_event_loop()
print(loop.run_until_complete(asyncio.sleep(0, "a loop")))
loop.close()
"""
ASK = """
print("EventLoopPolicy" in uring_loop.__all__, hasattr(uring_loop, "EventLoopPolicy"))
from uring_loop import *
try:
    uring_loop.install()
except RuntimeError as exc:
    print(exc)
"""


def test_everything_works_without_policies():
    assert run(DELETE + USE) == [
        "echoed", "a process", "an executor", "a thread", "the end", "a runner",
        "a loop"]


def test_what_needs_a_policy_says_that_there_is_none():
    there, error = run(DELETE + ASK)
    assert there == "False False"
    assert "no event loop policies" in error and "loop_factory" in error
