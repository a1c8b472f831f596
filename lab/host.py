# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""One managed system: a holder process with its own network, mount and UTS namespaces, and the
daemons of a libvirt host in it.

The holder does nothing but keep the namespaces; /proc/HOLDER/root is the host's file system as seen
from outside, so its sockets can be reached without entering it.
"""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import uuid

from lab import net, proc
from lab.proc import LabError
from lab.state import CACHE, VAR

# Private to each host; the keys are folders below the host's folder in the lab's state.
PRIVATE = {
    "/var/lib/libvirt": "lib-libvirt", "/etc/libvirt": "etc-libvirt",
    "/var/log/libvirt": "log-libvirt",
    "/var/lib/lpm": "lib-lpm", "/etc/lpm": "etc-lpm", "/var/log/lpm": "log-lpm",
}
# What libvirt finds out about a QEMU takes it seconds and depends on the machine only; it checks by
# itself that an entry is still true, and replaces entries atomically. So all labs share them.
SHARED = {"/var/cache/libvirt": os.path.join(CACHE, "libvirt")}
CREATED = os.path.join(VAR, "created-folders")
UUIDS = uuid.UUID("5d0a1f9e-4c3b-5c60-9d0f-6f2a3d1b7e44")

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_rw_perms = "0770"
log_outputs = "3:stderr"
"""

# System users that the packages of libvirt and OpenLPM would make; a host gets those that the machine
# does not have. libvirt refuses to start without its own.
USERS = {"libvirt-qemu": 64055, "lpm-mover": 64155}
GROUPS = {"libvirt-qemu": 64055, "lpm-mover": 64155, "lpm": 64156}

QEMU_CONF = """\
user = "root"
group = "root"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""
# With locks: whose disk it is is seen by all hosts in one folder, as on an NFS mount.
IO_TIMEOUT = 2  # of sanlock, in s: it joins a lockspace after twice as long, and leaves it for lost
                # when its place there could not be renewed for eight times as long
LOCKSPACE = "__LIBVIRT__DISKS__"  # libvirt's name for that of disks
LEASES_SIZE = 1 << 20  # of a lockspace or a resource, on disks with sectors of 512 bytes
LOCK_CONF = """\
auto_disk_leases = 1
require_lease_for_disks = 1
"""
LOCK_MANAGERS = {
    "lockd": {
        "daemon": "virtlockd", "argv": ["virtlockd"], "socket": "/run/libvirt/virtlockd-sock",
        "conf": LOCK_CONF + 'file_lockspace_dir = "{folder}"\n'},
    "sanlock": {
        "daemon": "sanlock", "socket": "/run/sanlock/sanlock.sock",
        # In the foreground, and without a watchdog that would reset the machine.
        "argv": ["/usr/bin/python3", "-E", "-S",
                 os.path.join(os.path.dirname(__file__), "limits.py"), "sanlock", "daemon", "-D",
                 "-w", "0", "-l", "0", "-U", "root", "-G", "root"],
        "conf": LOCK_CONF + ('disk_lease_dir = "{folder}"\nhost_id = {number}\n'
                             'io_timeout = {timeout}\n')},
}


def create_mount_points():
    """The private folders need something to be mounted on. What was made for it is noted, so that
    the last `down` can take it away again."""
    made = []
    for path in SHARED.values():
        os.makedirs(path, exist_ok=True)
    for path in list(PRIVATE) + list(SHARED):
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for path in reversed(missing):
            os.mkdir(path, 0o755)
            made.append(path)
    if not os.path.exists("/etc/hosts"):
        open("/etc/hosts", "a").close()
        made.append("/etc/hosts")
    if made:
        os.makedirs(VAR, exist_ok=True)
        with open(CREATED, "a") as f:
            f.writelines(p + "\n" for p in made)


def remove_mount_points():
    try:
        with open(CREATED) as f:
            paths = f.read().splitlines()
    except FileNotFoundError:
        return
    for path in reversed(paths):
        try:
            if os.path.isdir(path):
                os.rmdir(path)
            elif os.path.getsize(path) == 0:
                os.unlink(path)
        except OSError:
            pass  # gone already, or somebody has put something there meanwhile
    os.unlink(CREATED)


def _write(path, text):
    with open(path, "w") as f:
        f.write(text)


def write_files(lab, state, host):
    base = lab.host_dir(host)
    for folder in list(PRIVATE.values()) + ["log"]:
        os.makedirs(os.path.join(base, folder), exist_ok=True)
    identity = uuid.uuid5(UUIDS, f"{lab.name}/{host}")
    _write(f"{base}/etc-libvirt/libvirtd.conf", LIBVIRTD_CONF.format(uuid=identity))
    manager = state["locks"]
    _write(f"{base}/etc-libvirt/qemu.conf",
           QEMU_CONF + (f'lock_manager = "{manager}"\n' if manager else ""))
    if manager:
        _write(f"{base}/etc-libvirt/qemu-{manager}.conf", LOCK_MANAGERS[manager]["conf"].format(
            folder=locks_dir(lab), number=net.HOST_NUMBER[host], timeout=IO_TIMEOUT))
    lines = ["127.0.0.1 localhost"]
    lines += [f"{h['address']} {name}" for name, h in state["hosts"].items()]
    lines += [f"{state['client']['address']} client", f"{state['san']['address']} san"]
    _write(f"{base}/hosts", "\n".join(lines) + "\n")
    _write(f"{base}/passwd", _with_entries(
        "/etc/passwd", {n: f"{n}:x:{u}:{u}::/nonexistent:/usr/sbin/nologin"
                        for n, u in USERS.items()}))
    _write(f"{base}/group", _with_entries(
        "/etc/group", {n: f"{n}:x:{g}:" for n, g in GROUPS.items()}))


def _with_entries(path, entries):
    """The text of a passwd or group file with entries added for the names that it lacks."""
    with open(path) as f:
        text = f.read()
    have = {line.partition(":")[0] for line in text.splitlines()}
    return text + "".join(line + "\n" for name, line in entries.items() if name not in have)


def holder_script(lab, role, hostname, binds, dirs):
    """Shell text that makes the namespaces of a holder a host's own, reports, and sleeps."""
    q = shlex.quote
    lines = ["set -e", f"hostname {q(hostname)}",
             # /sys shows the network of the process that mounted it.
             "mount -t sysfs sysfs /sys",
             "mount -t tmpfs -o mode=755 tmpfs /run",
             "mkdir " + " ".join(["/run/lock"] + dirs)]
    lines += [f"mount --bind {q(source)} {q(target)}" for source, target in binds]
    lines += ["echo ready", "exec >/dev/null 2>&1",
              f"exec -a {q(f'lpm-lab-{lab.name}-{role}')} sleep infinity"]
    return "\n".join(lines)


def start_holder(lab, role, script, log):
    """The holder of a role, in its namespaces; it runs but is not ready before await_holder()."""
    argv = ["nsenter", f"--net={lab.netns_path(role)}", "unshare", "--mount", "--uts",
            "--propagation", "slave", "bash", "-c", script]
    with open(log, "ab") as err:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                                cwd="/", env=lab.env(), start_new_session=True)


def await_holder(role, child, log):
    # The script either reports or ends, so this cannot hang on anything but the mounts themselves.
    if child.stdout.readline().strip() != b"ready":
        raise LabError(f"cannot make the namespaces of {role}: {proc.tail(log)}")
    child.stdout.close()
    return proc.record(child.pid)


def begin_host(lab, host):
    base = lab.host_dir(host)
    binds = [(os.path.join(base, folder), path) for path, folder in PRIVATE.items()]
    binds += [(source, path) for path, source in SHARED.items()]
    binds += [(f"{base}/{name}", f"/etc/{name}") for name in ("hosts", "passwd", "group")]
    script = holder_script(lab, host, host, binds, ["/run/libvirt", "/run/lpm"])
    return start_holder(lab, host, script, f"{base}/log/holder.log")


def enter(state, where, argv, folder="/"):
    """Command line that runs argv inside a host, the SAN, the client or the switch; in the given
    folder of a host or the SAN, or in its root where it does not have that folder."""
    entry = state.get(where, {}) if where == "san" else state["hosts"].get(where)
    if entry:
        pid = entry["holder"]["pid"]
        if not os.path.isdir(f"/proc/{pid}/root{folder}"):
            folder = "/"
        # The root too, for a machine that is itself a chroot.
        return ["nsenter", "-t", str(pid), "-m", "-n", "-u", "-r", f"--wdns={folder}", "--"] + argv
    if where in ("client", "lan"):
        return ["nsenter", f"--net=/run/netns/{state[where]['netns']}", "--"] + argv
    known = ", ".join(list(state["hosts"]) + ["client", "san", "lan"])
    raise LabError(f"there is no '{where}' in this lab: it has {known}")


def daemon_in(lab, state, where, argv, log):
    return proc.daemon(enter(state, where, []), argv, log, lab.env())


def root(state, host):
    return f"/proc/{state['hosts'][host]['holder']['pid']}/root"


def libvirt_socket(state, host):
    return root(state, host) + "/run/libvirt/libvirt-sock"


def libvirt_uri(state, host):
    return f"qemu+unix:///system?socket={libvirt_socket(state, host)}"


def answers(path):
    """Whether somebody listens on a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
        try:
            s.connect(path)
        except OSError:
            return False
    return True


def locks_dir(lab):
    """The folder of lock files or leases that all hosts share, by the path that it has everywhere."""
    return os.path.join(lab.var_dir, "locks")


def prepare_locks(lab, state):
    """The folder of locks; for sanlock, with libvirt's lockspace in it. libvirt would make that too,
    but of two hosts that start at once the second may join before it is written."""
    if state["locks"]:
        os.makedirs(locks_dir(lab))
    if state["locks"] == "sanlock":
        path = os.path.join(locks_dir(lab), LOCKSPACE)
        with open(path, "wb") as f:
            f.truncate(LEASES_SIZE)
        proc.run(["sanlock", "direct", "init", "-o", str(IO_TIMEOUT), "-s",
                  f"{LOCKSPACE}:0:{path}:0"])


def begin_locks(lab, state, host):
    """Starts the lock manager's daemon and waits for it: libvirtd wants it when it starts."""
    manager, entry = LOCK_MANAGERS[state["locks"]], state["hosts"][host]
    name = manager["daemon"]
    log = os.path.join(lab.host_dir(host), "log", f"{name}.log")
    entry[name] = daemon_in(lab, state, host, manager["argv"], log)

    def ready():
        if not proc.alive(entry[name]):
            raise LabError(f"{name} of {host} has ended: {proc.tail(log)}")
        return answers(root(state, host) + manager["socket"])
    proc.wait_until(f"{name} of {host}", ready, 20)


def begin_libvirt(lab, state, host):
    """Starts virtlogd and libvirtd, and what locks disks where wanted; ready only after
    await_libvirt()."""
    manager = LOCK_MANAGERS.get(state["locks"])
    for name in ["virtlogd", "libvirtd"] + ([manager["daemon"]] if manager else []):
        if not shutil.which(name, path=lab.env()["PATH"]):
            raise LabError(f"the program '{name}' is missing: "
                           "install the packages of packaging/debian/packages.lab")
    state["hosts"][host]["virtlogd"] = daemon_in(
        lab, state, host, ["virtlogd"], os.path.join(lab.host_dir(host), "log", "virtlogd.log"))
    if manager:
        begin_locks(lab, state, host)
    begin_libvirtd(lab, state, host)


def stop_libvirt(lab, state, host, kill=False):
    """Ends libvirtd, or kills it as a crash would; its QEMUs go on."""
    entry = state["hosts"][host]
    if kill and proc.alive(entry["libvirtd"]):
        proc.send(entry["libvirtd"]["pid"], entry["libvirtd"]["start"], signal.SIGKILL)
    proc.end(entry["libvirtd"])


def begin_libvirtd(lab, state, host):
    entry = state["hosts"][host]
    if proc.alive(entry["libvirtd"]):
        raise LabError(f"libvirtd of {host} runs already (process {entry['libvirtd']['pid']})")
    entry["libvirtd"] = daemon_in(
        lab, state, host, ["libvirtd", "--config", "/etc/libvirt/libvirtd.conf"],
        os.path.join(lab.host_dir(host), "log", "libvirtd.log"))
    lab.save(state)


def await_libvirt(lab, state, host):
    entry = state["hosts"][host]
    log = os.path.join(lab.host_dir(host), "log", "libvirtd.log")

    def ready():
        if not proc.alive(entry["libvirtd"]):
            raise LabError(f"libvirtd of {host} has ended: {proc.tail(log)}")
        return answers(libvirt_socket(state, host))
    proc.wait_until(f"libvirtd of {host}", ready, 30)
    # Makes libvirt look at its QEMU now, so that no first migration is slower than the second.
    virsh(state, host, "domcapabilities", "--virttype", "qemu")


def virsh(state, host, *args, check=True, timeout=60):
    return proc.run(["virsh", "-q", "-c", libvirt_uri(state, host)] + list(args), check=check,
                    timeout=timeout)


def new_entry(lab, state, host):
    number = net.HOST_NUMBER[host]
    return {"name": host, "address": lab.lan_address(state, number),
            "san_address": lab.san_address(state, number), "netns": lab.netns(host),
            "rate": "none", "holder": None, "libvirtd": None, "virtlogd": None,
            "virtlockd": None, "sanlock": None, "lpmd": None}
