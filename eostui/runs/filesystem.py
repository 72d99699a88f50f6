"""What kind of file system a folder is on: SQLite's write-ahead log needs a local one."""

from __future__ import annotations

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
