# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Managed systems, a SAN, a LAN and guests on one machine: see README.md in this folder."""
