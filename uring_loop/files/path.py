"""Path: pathlib.Path's names, as coroutines where they touch the disk."""

import errno
import functools
import os
import pathlib
import stat as modes

from uring_loop.files import fs, opening
from uring_loop.files.executor import Call

__all__ = ["Path"]

# As in pathlib: a missing file and an invalid name give False.
ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)


class Path(pathlib.PurePosixPath):
    """A path whose methods that touch the disk are coroutines.

    The docstring of `uring_loop.fs` lists the operations on the ring and in threads.
    Methods without I/O are pathlib's own and are not awaited. A Path equals a
    pathlib.PurePosixPath, and is accepted wherever a path is (os.PathLike).
    """

    __slots__ = ()

    @classmethod
    async def cwd(cls):
        return cls(os.getcwd())

    @classmethod
    async def home(cls):
        return cls(await Call(os.path.expanduser, "~"))

    # ---- the file

    def open(self, mode="r", buffering=-1, encoding=None, errors=None, newline=None):
        """As uring_loop.open: for `async with` or `await`."""
        return opening.open(self, mode, buffering, encoding, errors, newline)

    async def read_bytes(self):
        return await opening.read_bytes(self)

    async def read_text(self, encoding=None, errors=None, newline=None):
        return await opening.read_text(self, encoding, errors, newline)

    async def write_bytes(self, data):
        return await opening.write_bytes(self, data)

    async def write_text(self, data, encoding=None, errors=None, newline=None):
        return await opening.write_text(self, data, encoding, errors, newline)

    async def touch(self, mode=0o666, exist_ok=True):
        await Call(pathlib.Path(self).touch, mode, exist_ok)

    # ---- properties of the file

    async def stat(self, *, follow_symlinks=True):
        return await fs.stat(self, follow_symlinks=follow_symlinks)

    async def lstat(self):
        return await fs.lstat(self)

    async def _mode(self, follow_symlinks=True):
        """st_mode; 0 for a missing file."""
        try:
            return (await self.stat(follow_symlinks=follow_symlinks)).st_mode
        except OSError as exc:
            if exc.errno not in ABSENT:
                raise
        except ValueError:
            # The name contains a null byte.
            pass
        return 0

    async def exists(self, *, follow_symlinks=True):
        return bool(await self._mode(follow_symlinks))

    async def is_file(self):
        return modes.S_ISREG(await self._mode())

    async def is_dir(self):
        return modes.S_ISDIR(await self._mode())

    async def is_symlink(self):
        return modes.S_ISLNK(await self._mode(follow_symlinks=False))

    async def is_block_device(self):
        return modes.S_ISBLK(await self._mode())

    async def is_char_device(self):
        return modes.S_ISCHR(await self._mode())

    async def is_fifo(self):
        return modes.S_ISFIFO(await self._mode())

    async def is_socket(self):
        return modes.S_ISSOCK(await self._mode())

    async def is_mount(self):
        return await fs.ismount(self)

    async def samefile(self, other_path):
        return await fs.samefile(self, other_path)

    async def owner(self):
        return await Call(pathlib.Path(self).owner)

    async def group(self):
        return await Call(pathlib.Path(self).group)

    # ---- changes

    async def mkdir(self, mode=0o777, parents=False, exist_ok=False):
        try:
            await fs.mkdir(self, mode)
        except FileNotFoundError:
            if not parents or self.parent == self:
                raise
            await self.parent.mkdir(parents=True, exist_ok=True)
            await self.mkdir(mode, parents=False, exist_ok=exist_ok)
        except OSError:
            # For an existing directory the error may be EEXIST, EACCES or EROFS.
            if not exist_ok or not await self.is_dir():
                raise

    async def rmdir(self):
        await fs.rmdir(self)

    async def unlink(self, missing_ok=False):
        try:
            await fs.unlink(self)
        except FileNotFoundError:
            if not missing_ok:
                raise

    async def rename(self, target):
        await fs.rename(self, target)
        return type(self)(target)

    async def replace(self, target):
        await fs.replace(self, target)
        return type(self)(target)

    async def symlink_to(self, target, target_is_directory=False):
        await fs.symlink(target, self)

    async def hardlink_to(self, target):
        await fs.link(target, self)

    async def readlink(self):
        return type(self)(await fs.readlink(self))

    async def chmod(self, mode, *, follow_symlinks=True):
        await fs.chmod(self, mode, follow_symlinks=follow_symlinks)

    async def lchmod(self, mode):
        await self.chmod(mode, follow_symlinks=False)

    # ---- other paths

    def absolute(self):
        return type(self)(pathlib.Path(self).absolute())

    async def resolve(self, strict=False):
        return await self._in_thread("resolve", strict)

    async def expanduser(self):
        return await self._in_thread("expanduser")

    async def iterdir(self):
        """The entries of the directory; all names are read before the first yield."""
        for name in await fs.listdir(self):
            yield self / name

    async def glob(self, pattern, **options):
        """Matches, all found before the first yield; options of pathlib's glob."""
        for path in await self._all("glob", pattern, options):
            yield path

    async def rglob(self, pattern, **options):
        """Matches in all subdirectories, all found before the first yield."""
        for path in await self._all("rglob", pattern, options):
            yield path

    async def walk(self, *args, **options):
        """(directory, names of directories, names of files), all found before the first
        yield. Only where pathlib.Path has it, from Python 3.12 on."""
        walk = functools.partial(pathlib.Path(self).walk, *args, **options)
        for folder, folders, names in await Call(lambda: list(walk())):
            yield type(self)(folder), folders, names

    async def _in_thread(self, name, *args):
        return type(self)(await Call(getattr(pathlib.Path(self), name), *args))

    async def _all(self, name, pattern, options):
        search = getattr(pathlib.Path(self), name)
        found = await Call(lambda: list(search(pattern, **options)))
        return [type(self)(path) for path in found]
