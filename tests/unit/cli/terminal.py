# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors
"""lpm on a terminal."""
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

LPM = os.environ["LPM_EXE"]


class Terminal:
    """lpm on a pseudo terminal as its stdin, stdout and stderr."""

    def __init__(self, words, environment, columns, rows=24):
        self.fd, slave = os.openpty()
        self.resize(columns, rows)
        self.process = subprocess.Popen(
            [LPM, *words], env=environment, stdin=slave, stdout=slave, stderr=slave,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(slave)
        self.output = ""
        self.code = None

    def resize(self, columns, rows=24):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def read_until(self, wanted, seconds=20):
        """Until the output matches `wanted`, or (None) until it ends."""
        end = time.monotonic() + seconds
        while wanted is None or not re.search(wanted, self.output):
            assert time.monotonic() < end, f"waited for {wanted!r}, got {self.output!r}"
            if not select.select([self.fd], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            if not data:
                assert wanted is None, f"ended before {wanted!r}: {self.output!r}"
                break
            self.output += data.decode()
        return self.output

    def write(self, text):
        os.write(self.fd, text.encode())

    def finish(self):
        self.read_until(None)
        self.code = self.process.wait(10)
        os.close(self.fd)
        return self.output
