# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""A QEMU of one's own, without libvirt, and its monitor."""
import json
import socket
import subprocess

from . import proc


class QmpError(proc.LabError):
    pass


class Qemu:
    """Started by the words of `args`, which give it no monitor; its socket is made at `path`. Calling
    it gives a command to the monitor and returns the answer; events before that gather in `events`."""

    def __init__(self, args, path, **more):
        self.events = []
        self.process = subprocess.Popen([*args, "-qmp", f"unix:{path},server=on,wait=off"],
                                        stdin=subprocess.DEVNULL, **more)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(60)
        proc.wait_until(f"the monitor of QEMU at {path}", lambda: self._connect(path), 30)
        self.file = self.socket.makefile("rw")
        self.file.readline()
        self("qmp_capabilities")

    def _connect(self, path):
        if self.process.poll() is not None:
            raise QmpError(f"QEMU has ended with {self.process.returncode}")
        return self.socket.connect_ex(path) == 0

    def __call__(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if "error" in answer:
                raise QmpError(f"{command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]
            self.events.append(answer)

    def capabilities(self, *names):
        """Of migration: switches them on."""
        self("migrate-set-capabilities",
             capabilities=[{"capability": name, "state": True} for name in names])

    def end(self):
        self.process.kill()
        self.process.wait()
        self.socket.close()
