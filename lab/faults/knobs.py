# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""What of a migration an operator chooses, and trials vary: one line of the table for each.

Each knob is drawn from the trial's seed by a generator of its own, so that a new one, or a new value,
changes nothing else of any trial. Those of lpmd.conf, for which lpmd is started anew, are the same for
neighbours."""

import dataclasses
import random


NEIGHBOURS = 8  # trials


@dataclasses.dataclass(frozen=True)
class Knob:
    """`section`: of lpmd.conf on both hosts, where it is the key `name`; None: it is an option of
    `lpm migrate`. A value that occurs twice is drawn twice as often; None: not given."""
    name: str
    section: str
    values: tuple


TABLE = (
    Knob("compression", "mover", ("auto", "none", "zstd", "lz4")),
    Knob("threads", "mover", ("1", "2")),
    Knob("links", "mover", ("auto", "1", "3")),
    Knob("direct_placement", "mover", ("on", "off")),
    Knob("retain", "retain", ("off", "on")),
    Knob("bandwidth", None, (None, None, "24M")),  # about a fifth of the trials' link
)


def draw(seed):
    """{name: value} of a trial; those that are not given are not in it."""
    drawn = {k.name: random.Random(f"{seed // NEIGHBOURS if k.section else seed} {k.name}")
             .choice(k.values) for k in TABLE}
    return {name: value for name, value in drawn.items() if value is not None}


def text(options):
    return "".join(f"+{name}={value}" for name, value in options.items())


def configuration(options):
    """The part of lpmd.conf that a trial wants."""
    return "".join(f"[{k.section}]\n{k.name}={options[k.name]}\n" for k in TABLE
                   if k.section and k.name in options)


def arguments(options):
    """Of `lpm migrate`."""
    return [word for k in TABLE if not k.section and k.name in options
            for word in (f"--{k.name}", options[k.name])]
