# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

import sys

from lab.cli import main

sys.exit(main())
