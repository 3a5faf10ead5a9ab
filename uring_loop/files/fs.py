"""Coroutines with the names, arguments and errors of os and os.path.

On the ring: `stat`, `lstat`, `mkdir`, `unlink`, `remove`, `rmdir`, `rename`, `replace`,
`link`, `symlink`, and functions made of these (`exists`, `isfile`, `isdir`, `islink`,
`getsize`, `makedirs`, …). For the other functions the kernel has no operation; they
run in the loop's default executor. So do all functions on the epoll backend and on
other event loops, and operations that the kernel lacks (Linux 5.11 added unlinkat and
renameat, 5.15 mkdirat, linkat and symlinkat).
"""

import os
import stat as modes
import sys

from uring_loop._compat import LINK_FOLLOWS_NAMES
from uring_loop.files import operations
from uring_loop.files.executor import Call
from uring_loop.files.rawfile import ring_with

# Functions of os that are called in a thread.
IN_THREADS = (
    "access", "chmod", "chown", "getxattr", "lchown", "listdir", "listxattr", "mkfifo",
    "readlink", "removexattr", "scandir", "setxattr", "statvfs", "truncate", "utime",
)
PATHS_IN_THREADS = ("ismount", "realpath")


def audited(event, *arguments):
    """Raise the audit event of the os function; None is passed as -1."""
    sys.audit(event, *[-1 if argument is None else argument for argument in arguments])


def loop_for(opcode, *paths):
    """The running loop if the operation can use its ring, else None.

    Only path names can: the functions of os check for themselves whether they accept a
    descriptor.
    """
    if any(isinstance(path, int) for path in paths):
        return None
    return ring_with(opcode)


async def stat(path, *, dir_fd=None, follow_symlinks=True):
    """os.stat_result."""
    loop = loop_for("STATX", path)
    if loop is None:
        return await Call(os.stat, path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    return await operations.stat(loop, path, dir_fd, follow_symlinks)


async def lstat(path, *, dir_fd=None):
    """os.stat_result of the link itself."""
    return await stat(path, dir_fd=dir_fd, follow_symlinks=False)


async def mkdir(path, mode=0o777, *, dir_fd=None):
    loop = loop_for("MKDIRAT", path)
    if loop is None:
        return await Call(os.mkdir, path, mode, dir_fd=dir_fd)
    audited("os.mkdir", path, mode, dir_fd)
    await operations.mkdir(loop, path, mode, dir_fd)


async def unlink(path, *, dir_fd=None):
    loop = loop_for("UNLINKAT", path)
    if loop is None:
        return await Call(os.unlink, path, dir_fd=dir_fd)
    audited("os.remove", path, dir_fd)
    await operations.unlink(loop, path, dir_fd)


remove = unlink


async def rmdir(path, *, dir_fd=None):
    loop = loop_for("UNLINKAT", path)
    if loop is None:
        return await Call(os.rmdir, path, dir_fd=dir_fd)
    audited("os.rmdir", path, dir_fd)
    await operations.unlink(loop, path, dir_fd, True)


async def rename(src, dst, *, src_dir_fd=None, dst_dir_fd=None):
    loop = loop_for("RENAMEAT", src, dst)
    if loop is None:
        return await Call(
            os.rename, src, dst, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)
    audited("os.rename", src, dst, src_dir_fd, dst_dir_fd)
    await operations.rename(loop, src, dst, src_dir_fd, dst_dir_fd)


# The two are the same on Linux.
replace = rename


async def link(src, dst, *, src_dir_fd=None, dst_dir_fd=None, follow_symlinks=True):
    loop = loop_for("LINKAT", src, dst)
    if loop is None:
        return await Call(os.link, src, dst, src_dir_fd=src_dir_fd,
                          dst_dir_fd=dst_dir_fd, follow_symlinks=follow_symlinks)
    audited("os.link", src, dst, src_dir_fd, dst_dir_fd)
    only_names = src_dir_fd is None and dst_dir_fd is None
    follows = follow_symlinks and (LINK_FOLLOWS_NAMES or not only_names)
    await operations.link(loop, src, dst, src_dir_fd, dst_dir_fd, follows)


async def symlink(src, dst, target_is_directory=False, *, dir_fd=None):
    """`target_is_directory` has no effect on Linux."""
    loop = loop_for("SYMLINKAT", src, dst)
    if loop is None:
        return await Call(os.symlink, src, dst, dir_fd=dir_fd)
    audited("os.symlink", src, dst, dir_fd)
    await operations.symlink(loop, src, dst, dir_fd)


# ---- functions made of the above --------------------------------------------------


async def mode_of(path, follow_symlinks=True):
    """st_mode; 0 for a missing file or an invalid name."""
    try:
        return (await stat(path, follow_symlinks=follow_symlinks)).st_mode
    except (OSError, ValueError):
        return 0


async def exists(path):
    return bool(await mode_of(path))


async def lexists(path):
    return bool(await mode_of(path, follow_symlinks=False))


async def isfile(path):
    return modes.S_ISREG(await mode_of(path))


async def isdir(path):
    return modes.S_ISDIR(await mode_of(path))


async def islink(path):
    return modes.S_ISLNK(await mode_of(path, follow_symlinks=False))


async def getsize(path):
    return (await stat(path)).st_size


async def getatime(path):
    return (await stat(path)).st_atime


async def getmtime(path):
    return (await stat(path)).st_mtime


async def getctime(path):
    return (await stat(path)).st_ctime


async def samefile(path1, path2):
    return os.path.samestat(await stat(path1), await stat(path2))


async def makedirs(name, mode=0o777, exist_ok=False):
    """os.makedirs: parents get the default mode."""
    head, tail = os.path.split(name)
    if not tail:
        head, tail = os.path.split(head)
    if head and tail and not await exists(head):
        await makedirs(head, exist_ok=True)
        if tail in (os.curdir, os.fsencode(os.curdir)):
            return
    try:
        await mkdir(name, mode)
    except OSError:
        # For an existing directory the error may be EEXIST, EACCES or EROFS.
        if not exist_ok or not await isdir(name):
            raise


async def removedirs(name):
    """os.removedirs: remove the directory, and all parents that are then empty."""
    await rmdir(name)
    head, tail = os.path.split(name)
    if not tail:
        head, tail = os.path.split(head)
    while head and tail:
        try:
            await rmdir(head)
        except OSError:
            break
        head, tail = os.path.split(head)


async def renames(old, new):
    """os.renames: make the new directories, remove old ones that are empty."""
    head, tail = os.path.split(new)
    if head and tail and not await exists(head):
        await makedirs(head)
    await rename(old, new)
    head, tail = os.path.split(old)
    if head and tail:
        try:
            await removedirs(head)
        except OSError:
            # The directory is not empty: os.renames ignores that, too.
            pass


# ---- in threads -------------------------------------------------------------------


def in_thread(function):
    async def call(*args, **kwargs):
        return await Call(function, *args, **kwargs)

    call.__name__ = call.__qualname__ = function.__name__
    call.__doc__ = f"{function.__module__}.{function.__name__}() in a thread."
    return call


for name in IN_THREADS:
    globals()[name] = in_thread(getattr(os, name))
for name in PATHS_IN_THREADS:
    globals()[name] = in_thread(getattr(os.path, name))
del name

__all__ = [
    "exists", "getatime", "getctime", "getmtime", "getsize", "isdir", "isfile",
    "islink", "lexists", "link", "lstat", "makedirs", "mkdir", "remove", "removedirs",
    "rename", "renames", "replace", "rmdir", "samefile", "stat", "symlink", "unlink",
    *IN_THREADS, *PATHS_IN_THREADS,
]
