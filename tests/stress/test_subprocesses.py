"""Many processes, in a row and at once: every exit is heard, none is left."""

import asyncio
import os
import subprocess

import pytest

IN_A_ROW = 100
AT_ONCE = 60
BIG = 1 << 20


async def exits(number):
    process = await asyncio.create_subprocess_exec("sh", "-c", f"exit {number % 256}")
    return await process.wait()


async def echoes(number, size):
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    data = bytes([number]) * size
    out, _ = await process.communicate(data)
    return process.returncode == 0 and out == data


@pytest.fixture(autouse=True)
def no_zombies():
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_one_after_the_other(run):
    async def main():
        return [await exits(number) for number in range(IN_A_ROW)]

    assert run(main()) == list(range(IN_A_ROW))


def test_all_at_once(run):
    async def main():
        return await asyncio.gather(*(exits(number) for number in range(AT_ONCE)))

    assert run(main()) == list(range(AT_ONCE))


def test_all_talking_at_once(run):
    async def main():
        return await asyncio.gather(*(echoes(number, 100) for number in range(AT_ONCE)))

    assert all(run(main()))


def test_much_through_a_few(run):
    async def main():
        return await asyncio.gather(*(echoes(number, BIG) for number in range(4)))

    assert all(run(main()))


def test_children_that_are_killed_while_they_talk(run):
    async def killed():
        process = await asyncio.create_subprocess_exec(
            "cat", "/dev/zero", stdout=subprocess.PIPE)
        await process.stdout.readexactly(100_000)
        process.kill()
        await process.communicate()
        return process.returncode

    async def main():
        return await asyncio.gather(*(killed() for _ in range(10)))

    assert set(run(main())) == {-9}
