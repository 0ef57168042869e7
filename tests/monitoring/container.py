"""Containers without an engine: a root folder that holds what an image and compose's mounts put there, read-only, entered as the service's user, without
capabilities and without a way to gain any. As root only."""
import os
import pathlib
import re
import shutil
import subprocess

SCRIPT = r"""set -eu
root=$1 user=$2 variables=$3 writable=$4; shift 4
mount --bind "$root" "$root"
mkdir -p "$root/dev/shm" "$root/proc" "$root/tmp"
for name in null urandom; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
for place in $writable; do mount --bind "$root$place" "$root$place"; done
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o size=256m,mode=1777 tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -o remount,bind,ro "$root"
cd /
exec env -i $variables setpriv --no-new-privs --bounding-set=-all,+setuid,+setgid,+sys_chroot \
    /usr/sbin/chroot --userspec="$user" --groups= "$root" "$@"
"""


def possible():
    if os.geteuid() != 0 or not shutil.which("setpriv") or not os.access("/usr/sbin/chroot", os.X_OK):
        return False
    return subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False).returncode == 0


def words(root, user, environment, writable, command):
    """The command line that starts it. Environment: names and values without blanks."""
    variables = " ".join(f"{name}={value}" for name, value in environment.items())
    return ["unshare", "--mount", "bash", "-c", SCRIPT, "container", str(root), user, variables, " ".join(writable), *map(str, command)]


def put_program(root, program, place):
    """A program of this machine and the libraries it asks for."""
    target = pathlib.Path(root) / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(program, target)
    libraries = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    for path in re.findall(r"(/\S+) \(0x", libraries):
        beside = pathlib.Path(root) / path.lstrip("/")
        beside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, beside)


def put_names(root, names):
    """/etc/hosts and a name server that never answers, as Docker mounts its own."""
    (pathlib.Path(root) / "etc").mkdir(exist_ok=True)
    (pathlib.Path(root) / "etc/hosts").write_text(f"127.0.0.1 localhost {' '.join(names)}\n")
    (pathlib.Path(root) / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
