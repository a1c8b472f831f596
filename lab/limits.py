# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Runs a program whose attempts to change its resource limits succeed and change nothing.

sanlock lifts its limits of locked memory and of real-time priority and ends where it may not, as in
a container without CAP_SYS_RESOURCE, though by its options it uses neither.

    limits.py PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF: a word at an offset, compare with k, return k
ALLOW, NOTHING = 0x7fff0000, 0x00050000  # the call itself; in its place, 0 as the result
NUMBER, NEW_LIMIT = 0, 16 + 2 * 8  # offsets in seccomp_data; the limit to set is the third argument
PRLIMIT64 = {"x86_64": 302, "aarch64": 261}  # which is glibc's setrlimit() too


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def instructions(number):
    """(code, jump if so, jump if not, k) each: a limit that is only read has no address to set."""
    return [(LOAD, 0, 0, NUMBER), (EQUAL, 0, 4, number),
            (LOAD, 0, 0, NEW_LIMIT), (EQUAL, 0, 3, 0),
            (LOAD, 0, 0, NEW_LIMIT + 4), (EQUAL, 0, 1, 0),
            (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOTHING)]


def hold():
    code = b"".join(struct.pack("HBBI", *i) for i in instructions(PRLIMIT64[os.uname().machine]))
    text = ctypes.create_string_buffer(code, len(code))
    program = Program(len(code) // 8, ctypes.addressof(text))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                                                       ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "the filter of system calls cannot be set")


if __name__ == "__main__":
    hold()
    os.execvp(sys.argv[1], sys.argv[1:])
