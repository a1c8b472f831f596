# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Runs one daemon and reaps whatever it leaves: python3 reaper.py PROGRAM ARGS...

libvirtd and lpmd start processes that outlive them, and wait for those to vanish when they end them.
An orphan vanishes only when its new parent reaps it; a machine whose first process is slow at that
would show as seconds in every migration. So the orphans of a daemon become this process's children.
Prints the daemon's pid on stdout, gives its own stderr to the daemon as both outputs, and ends when
nothing is left to wait for.
"""

import ctypes
import os
import sys

PR_SET_CHILD_SUBREAPER = 36


def main(argv):
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        print(f"reaper: prctl: {os.strerror(ctypes.get_errno())}", file=sys.stderr)
        return 1
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            os.dup2(2, 1)
            os.execvp(argv[0], argv)
        except OSError as error:
            print(f"reaper: {argv[0]}: {error}", file=sys.stderr)
        finally:
            os._exit(127)
    os.write(1, f"{pid}\n".encode())
    os.close(1)
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return 0


sys.exit(main(sys.argv[1:]))
