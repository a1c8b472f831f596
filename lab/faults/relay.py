# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""A dumb wire between two libvirt hosts, for plain peer-to-peer migration.

It carries two unix sockets of the source, libvirt's RPC and QEMU's data, to those of the target, and
knows no more of them than where a message of the RPC begins and which procedure it names. It can do
what any network does: end, stand still, or lose what was just sent.
"""

import contextlib
import os
import socket
import struct
import threading
import time

from lab import host

FOLDER = "/run/lpm-plain"
RPC, DATA = "peer.sock", "data.sock"
HEAD = struct.Struct(">IIIIIII")  # length, program, version, procedure, type, serial, status
PROGRAM = 0x20008086
CALL, REPLY = 0, 1
PROCEDURES = {303: "prepare", 306: "finish"}  # of peer-to-peer migration, version 3, parameters
CHUNK = 256 * 1024
MESSAGE_MAX = 64 << 20


class Relay:
    """Context manager. `moment(name, relay)` is called in the wire's own thread for each named
    moment, before what it names is passed on: prepare.call, prepare.reply, finish.call,
    finish.reply, and data when `data_after` bytes have passed. It returns True to lose the message
    (finish.reply and the like only), else False."""

    def __init__(self, scenario, source, target, moment, data_after=None):
        self.scenario, self.source, self.target = scenario, source, target
        self.moment, self.data_after = moment, data_after
        self.listeners, self.sockets, self.threads = [], [], []
        self.passed = 0
        self.cut_now = False
        self.still_until = 0.0
        self.seen = []

    def _path(self, where, name):
        return f"{host.root(self.scenario.state, where)}{FOLDER}/{name}"

    def __enter__(self):
        for where in (self.source, self.target):
            os.makedirs(os.path.dirname(self._path(where, RPC)), exist_ok=True)
            for name in (RPC, DATA):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(where, name))
        for name, there, serve in (
                (RPC, host.libvirt_socket(self.scenario.state, self.target), self._rpc),
                (DATA, self._path(self.target, DATA), self._data)):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(self._path(self.source, name))
            listener.listen(16)
            self.listeners.append(listener)
            self._thread(self._accept, listener, there, serve)
        return self

    def __exit__(self, *exception):
        self.cut()
        for listener in self.listeners:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self.threads:
            thread.join(timeout=60)
        for where in (self.source, self.target):
            for name in (RPC, DATA):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._path(where, name))

    def uris(self):
        """What virsh migrate needs: the URI of the target and that of the data."""
        return f"qemu+unix:///system?socket={FOLDER}/{RPC}", f"unix://{FOLDER}/{DATA}"

    def cut(self):
        """Ends all connections, now and until the relay ends."""
        self.cut_now = True
        for s in list(self.sockets):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def stall(self, seconds):
        """Nothing passes in either direction for so long; nothing is lost."""
        self.still_until = time.monotonic() + seconds

    def _send(self, to, data):
        while (left := self.still_until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
        to.sendall(data)

    def _thread(self, target, *args):
        thread = threading.Thread(target=target, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self, listener, there, serve):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                if self.cut_now:
                    raise ConnectionRefusedError
                far.connect(there)
            except OSError:
                near.close()
                far.close()
                continue
            self.sockets += [near, far]
            for a, b, name in ((near, far, "call"), (far, near, "reply")):
                self._thread(self._serve, serve, a, b, name)

    def _serve(self, serve, a, b, name):
        """One direction of one connection; its end ends what it feeds."""
        with contextlib.suppress(OSError, ValueError):
            serve(a, b, name)
        for s in (a, b):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def _tell(self, name):
        self.seen.append((name, time.monotonic_ns() // 1000))
        return self.moment(name, self)

    def _rpc(self, a, b, name):
        while True:
            head = _exactly(a, HEAD.size)
            length, program, _, procedure, kind, _, _ = HEAD.unpack(head)
            if not HEAD.size <= length <= MESSAGE_MAX:
                raise ValueError(f"a message of {length} bytes")
            rest = _exactly(a, length - HEAD.size)
            lose = False
            if program == PROGRAM and procedure in PROCEDURES and \
                    kind == (CALL if name == "call" else REPLY):
                lose = self._tell(f"{PROCEDURES[procedure]}.{name}")
            if not lose:
                self._send(b, head + rest)

    def _data(self, a, b, name):
        while chunk := a.recv(CHUNK):
            if name == "call" and self.data_after is not None and \
                    self.passed <= self.data_after < self.passed + len(chunk):
                self._tell("data")
            if name == "call":
                self.passed += len(chunk)
            self._send(b, chunk)


def _exactly(s, n):
    got = bytearray()
    while len(got) < n:
        chunk = s.recv(min(n - len(got), CHUNK))
        if not chunk:
            raise ConnectionResetError
        got += chunk
    return bytes(got)
