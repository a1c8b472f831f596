# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""The fault engine: real migrations in the lab, each with faults at chosen instants. docs/faults.md
tells what is injected and what is asserted."""
