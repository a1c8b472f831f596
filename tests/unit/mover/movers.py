# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""Two real movers, driven as lpmd drives them: control sockets, links over loopback, the programs'
sockets. A thread answers what the movers ask for."""
import array
import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time

MOVER = os.environ.get("LPM_MOVER", "lpm-mover")
CHANNELS = ("rpc", "data")


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.01)


def unix_listen(path, kind=socket.SOCK_STREAM):
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.bind(path)
    sock.listen(4)
    os.chmod(path, 0o666)
    return sock


class Slow:
    """What lies between two hosts: a relay of one TCP connection at a time, with a rate and a bound
    on what is under way."""

    def __init__(self, port, rate):
        self.rate, self.port = rate, port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
        self.address = self.listener.getsockname()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
                far.connect(("127.0.0.1", self.port))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=pair, daemon=True).start()

    def _copy(self, source, sink):
        free_at = time.monotonic()
        with contextlib.suppress(OSError):
            while data := source.recv(4096):
                free_at = max(free_at, time.monotonic()) + len(data) / self.rate
                time.sleep(max(0, free_at - time.monotonic()))
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()


class Mover:
    """One side. `log` holds every event as it came."""

    def __init__(self, folder, side, session, options):
        self.folder, self.side = folder, side
        self.path = os.path.join(folder, side + ".ctl")
        listener = unix_listen(self.path, socket.SOCK_SEQPACKET)
        root = os.path.join(folder, "empty")
        os.makedirs(root, exist_ok=True)
        copy = listener.fileno()
        self.process = subprocess.Popen(
            [MOVER, "--user", "nobody", "--root", root, "--id", "test", "--side", side],
            preexec_fn=lambda: os.dup2(copy, 3), pass_fds=(3, copy) if copy != 3 else (3,))
        listener.close()
        self.log, self.stats, self.link = [], None, None
        self.control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.connect(self.path)
        self.send(message="start", side=side, session=session, psk="33" * 32,
                  backlog_bytes=options.get("backlog", 4 << 20),
                  compression=options.get("compression", "zstd"), compression_level=1,
                  migration="test", partition="p",
                  finish_by_outcome=side == "target" and options.get("finish_by_outcome", False),
                  gate_run=side == "target" and options.get("gate", False))

    def send(self, fd=None, **message):
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd else []
        self.control.sendmsg([json.dumps(message).encode()], rights)

    def seen(self, message, **fields):
        return any(e["message"] == message and all(e.get(k) == v for k, v in fields.items())
                   for e in list(self.log))

    def ask(self):
        self.stats = None
        self.send(message="stats")
        wait_for(lambda: self.stats, 10, "statistics")
        return self.stats

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        self.control.close()


class Movers:
    """A pair with a folder of its own: the source's programs connect to rpc.sock and data.sock, the
    target's listen at `data` and `rpc` (paths)."""
    count = 0

    def __init__(self, folder, data, rpc=None, rate=None, **options):
        Movers.count += 1
        self.folder = os.path.join(folder, f"movers{Movers.count}")
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o755)
        self.targets = {"data": data, "rpc": rpc}
        self.keep_linked, self.stopping, self.gone = True, False, set()
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.slow = Slow(self.tcp.getsockname()[1], rate) if rate else None
        session = os.urandom(16).hex()
        self.source = Mover(self.folder, "source", session, options)
        self.target = Mover(self.folder, "target", session, options)
        for channel in CHANNELS:
            with unix_listen(self.path(channel)) as sock:
                self.source.send(message="listen", channel=channel, fd=sock.fileno())
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def path(self, channel):
        return os.path.join(self.folder, channel + ".sock")

    def _link(self):
        near = socket.create_connection(self.slow.address if self.slow else self.tcp.getsockname())
        far, _ = self.tcp.accept()
        self.source.link, self.target.link = near, far
        self.source.send(message="link", server=False, fd=near.fileno())
        self.target.send(message="link", server=True, fd=far.fileno())

    def _attach(self, channel):
        sock = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 10
        while True:
            try:
                sock.connect(self.targets[channel])
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        self.target.send(message="attach", channel=channel, fd=sock.fileno())
        sock.close()

    def _act(self, mover, event):
        mover.log.append(event)
        if event["message"] == "stats":
            mover.stats = event["stats"]
        if event["message"] == "need" and event["what"] != "link":
            self._attach(event["what"])
        if event["message"] == "link":
            mover.needs_link = False
        if event["message"] == "need" and event["what"] == "link":
            mover.needs_link = True

    def _serve(self):
        while not self.stopping:
            movers = [m for m in (self.source, self.target) if m not in self.gone]
            ready = select.select([m.control for m in movers], [], [], 0.05)[0]
            for mover in movers:
                if mover.control not in ready:
                    continue
                data = mover.control.recv(1 << 20)
                if data:
                    self._act(mover, json.loads(data))
                else:
                    self.gone.add(mover)
                    mover.gone_at = time.monotonic()
            if self.keep_linked and getattr(self.source, "needs_link", False) and not self.gone:
                self.source.needs_link = False
                self._link()

    def cut(self):
        for mover in (self.source, self.target):
            with contextlib.suppress(OSError):
                mover.link.shutdown(socket.SHUT_RDWR)

    def end_other(self, side):
        """The mover opposite to `side` has lost its companion: lpmd ends it."""
        (self.target if side == "source" else self.source).send(message="quit")

    def end(self):
        self.stopping = True
        self.thread.join()
        for mover in (self.source, self.target):
            mover.end()
        if self.slow:
            self.slow.close()
        self.tcp.close()
        shutil.rmtree(self.folder)
