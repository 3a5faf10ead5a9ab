"""Types of uring_loop.fs."""

import os
from collections.abc import Iterator

from _typeshed import FileDescriptorOrPath, ReadableBuffer, StrOrBytesPath, StrPath

__all__ = [
    "access", "chmod", "chown", "exists", "getatime", "getctime", "getmtime",
    "getsize", "getxattr", "isdir", "isfile", "islink", "ismount", "lchown",
    "lexists", "link", "listdir", "listxattr", "lstat", "makedirs", "mkdir",
    "mkfifo", "readlink", "realpath", "remove", "removedirs", "removexattr",
    "rename", "renames", "replace", "rmdir", "samefile", "scandir", "setxattr",
    "stat", "statvfs", "symlink", "truncate", "unlink", "utime"]

async def stat(
    path: FileDescriptorOrPath,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> os.stat_result: ...
async def lstat(
    path: StrOrBytesPath, *, dir_fd: int | None = None
) -> os.stat_result: ...
async def mkdir(
    path: StrOrBytesPath, mode: int = 0o777, *, dir_fd: int | None = None
) -> None: ...
async def unlink(path: StrOrBytesPath, *, dir_fd: int | None = None) -> None: ...
async def remove(path: StrOrBytesPath, *, dir_fd: int | None = None) -> None: ...
async def rmdir(path: StrOrBytesPath, *, dir_fd: int | None = None) -> None: ...
async def rename(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None: ...
async def replace(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
) -> None: ...
async def link(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    *,
    src_dir_fd: int | None = None,
    dst_dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None: ...
async def symlink(
    src: StrOrBytesPath,
    dst: StrOrBytesPath,
    target_is_directory: bool = False,
    *,
    dir_fd: int | None = None,
) -> None: ...
async def exists(path: FileDescriptorOrPath) -> bool: ...
async def lexists(path: StrOrBytesPath) -> bool: ...
async def isfile(path: FileDescriptorOrPath) -> bool: ...
async def isdir(path: FileDescriptorOrPath) -> bool: ...
async def islink(path: StrOrBytesPath) -> bool: ...
async def ismount(path: FileDescriptorOrPath) -> bool: ...
async def getsize(path: FileDescriptorOrPath) -> int: ...
async def getatime(path: FileDescriptorOrPath) -> float: ...
async def getmtime(path: FileDescriptorOrPath) -> float: ...
async def getctime(path: FileDescriptorOrPath) -> float: ...
async def samefile(
    path1: FileDescriptorOrPath, path2: FileDescriptorOrPath
) -> bool: ...
async def realpath(path: StrPath, *, strict: bool = False) -> str: ...
async def makedirs(
    name: StrOrBytesPath, mode: int = 0o777, exist_ok: bool = False
) -> None: ...
async def removedirs(name: StrOrBytesPath) -> None: ...
async def renames(old: StrOrBytesPath, new: StrOrBytesPath) -> None: ...
async def access(
    path: FileDescriptorOrPath,
    mode: int,
    *,
    dir_fd: int | None = None,
    effective_ids: bool = False,
    follow_symlinks: bool = True,
) -> bool: ...
async def chmod(
    path: FileDescriptorOrPath,
    mode: int,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None: ...
async def chown(
    path: FileDescriptorOrPath,
    uid: int,
    gid: int,
    *,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None: ...
async def lchown(path: StrOrBytesPath, uid: int, gid: int) -> None: ...
async def getxattr(
    path: FileDescriptorOrPath, attribute: StrOrBytesPath, *,
    follow_symlinks: bool = True,
) -> bytes: ...
async def setxattr(
    path: FileDescriptorOrPath,
    attribute: StrOrBytesPath,
    value: ReadableBuffer,
    flags: int = 0,
    *,
    follow_symlinks: bool = True,
) -> None: ...
async def listxattr(
    path: FileDescriptorOrPath | None = None, *, follow_symlinks: bool = True
) -> list[str]: ...
async def removexattr(
    path: FileDescriptorOrPath, attribute: StrOrBytesPath, *,
    follow_symlinks: bool = True,
) -> None: ...
async def listdir(path: StrPath | int | None = None) -> list[str]: ...
async def scandir(path: StrPath | int | None = None) -> Iterator[os.DirEntry[str]]: ...
async def mkfifo(
    path: StrOrBytesPath, mode: int = 0o666, *, dir_fd: int | None = None
) -> None: ...
async def readlink(path: StrPath, *, dir_fd: int | None = None) -> str: ...
async def statvfs(path: FileDescriptorOrPath) -> os.statvfs_result: ...
async def truncate(path: FileDescriptorOrPath, length: int) -> None: ...
async def utime(
    path: FileDescriptorOrPath,
    times: tuple[float, float] | None = None,
    *,
    ns: tuple[int, int] = ...,
    dir_fd: int | None = None,
    follow_symlinks: bool = True,
) -> None: ...
