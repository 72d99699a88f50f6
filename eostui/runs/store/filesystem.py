"""What a folder and its files are: of a network, where SQLite's log won't do; links, pipes, files."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

_NETWORK_TYPES = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "ceph",
    "lustre",
    "gpfs",
    "beegfs",
    "fuse.sshfs",
)


def on_network(path: Path, mounts: Path = Path("/proc/self/mounts")) -> bool:
    """Return whether `path` lies on a network file system; False where the system doesn't tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    best = (0, "")
    for line in lines:
        fields = line.split()
        if len(fields) < 3:
            continue
        mount_point = fields[1].replace("\\040", " ")
        if path.resolve().is_relative_to(mount_point) and len(mount_point) >= best[0]:
            best = (len(mount_point), fields[2])  # of equals the later hides the earlier
    return best[1].startswith(_NETWORK_TYPES)


def is_full(folder: Path) -> bool:
    """Return whether a disk has no room left for whoever asks."""
    try:
        return os.statvfs(folder).f_bavail == 0
    except OSError:
        return False


def open_regular(file: Path, flags: int) -> int:
    """Open a file of a run directory, made with mode 0600 if `flags` say so; return its descriptor.

    Raises:
        OSError: if it can't be opened, or is no regular file: no link is followed, no pipe waited for.
    """
    try:
        descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a link; a pipe that nobody reads
            raise _irregular(file) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _irregular(file)
    return descriptor


def _irregular(file: Path) -> OSError:
    return OSError(errno.EINVAL, f"its `{file.name}` is no regular file")
