"""Does the same to a file of ours and to one of the builtin open, and compares."""

import builtins

import uring_loop


def outcome_of(exc):
    """What of an exception must be the same: its type, errno and filename."""
    return "raised", type(exc).__name__, getattr(exc, "errno", None), getattr(
        exc, "filename", None)


async def ours(path, arguments, operations):
    trace = []
    try:
        file = await uring_loop.open(path, **arguments)
    except Exception as exc:
        return [outcome_of(exc)]
    try:
        cookies = [0]
        for name, *args in operations:
            try:
                trace.append(plain(await ours_does(file, name, args, cookies)))
            except Exception as exc:
                trace.append(outcome_of(exc))
    finally:
        await file.close()
    return trace


async def ours_does(file, name, args, cookies):
    if name == "mark":
        cookies.append(await file.tell())
        return None
    if name == "return":
        await file.seek(cookies[args[0] % len(cookies)])
        return None
    if name == "readinto":
        memory = bytearray(args[0])
        return await file.readinto(memory), bytes(memory)
    if name == "iterate":
        return [line async for line in file]
    result = await getattr(file, name)(*args)
    return shown(file, name, result)


def builtin(path, arguments, operations):
    trace = []
    try:
        file = builtins.open(path, **arguments)
    except Exception as exc:
        return [outcome_of(exc)]
    with file:
        cookies = [0]
        for name, *args in operations:
            try:
                trace.append(plain(builtin_does(file, name, args, cookies)))
            except Exception as exc:
                trace.append(outcome_of(exc))
    return trace


def builtin_does(file, name, args, cookies):
    if name == "mark":
        cookies.append(file.tell())
        return None
    if name == "return":
        file.seek(cookies[args[0] % len(cookies)])
        return None
    if name == "readinto":
        memory = bytearray(args[0])
        return file.readinto(memory), bytes(memory)
    if name == "iterate":
        return list(file)
    return shown(file, name, getattr(file, name)(*args))


def shown(file, name, result):
    # A position in a text file is a number that means something to its file only.
    return None if name == "seek" and hasattr(file, "encoding") else result


def plain(value):
    return list(value) if isinstance(value, tuple | list) else value


async def compare(folder, content, arguments, operations):
    """Fail unless every operation gives the same, and the files are the same."""
    paths = folder / "ours", folder / "builtin"
    for path in paths:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    expected = builtin(paths[1], arguments, operations)
    actual = await ours(paths[0], arguments, operations)
    for trace in (expected, actual):
        # The two paths differ.
        trace[:] = [(*item[:3], item[3] and "path") if isinstance(item, tuple) else item
                    for item in trace]
    assert actual == expected
    assert ([path.read_bytes() if path.exists() else None for path in paths[:1]]
            == [path.read_bytes() if path.exists() else None for path in paths[1:]])
