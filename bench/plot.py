# SPDX-License-Identifier: LGPL-2.1-or-later
# Copyright 2026 The OpenLPM authors

"""Bars with whiskers as SVG: the median, and from the least to the most. No library is needed for
that, and the files stay small and readable in a diff."""

from xml.sax.saxutils import escape

ROW, LEFT, WIDTH = 22, 175, 300


def bars(heading, rows, digits):
    """rows: [(label, (median, least, most))]; one drawing as text."""
    top = max([figures[2] for _, figures in rows] + [1e-9])
    height = 30 + ROW * len(rows)
    out = ["<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->",
           "<!-- Copyright 2026 The OpenLPM authors -->",
           f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 80}" height="{height}" '
           'font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="{LEFT}" y="16" font-weight="bold">{escape(heading)}</text>']
    for i, (label, (median, least, most)) in enumerate(rows):
        y = 26 + ROW * i
        scale = WIDTH / top
        colour = "#2a6f97" if label.startswith("OpenLPM") else "#a9b4bd"
        out += [f'<text x="{LEFT - 6}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
                f'<rect x="{LEFT}" y="{y}" width="{median * scale:.1f}" height="{ROW - 6}" '
                f'fill="{colour}"/>',
                f'<path d="M{LEFT + least * scale:.1f} {y + 8}H{LEFT + most * scale:.1f}" '
                'stroke="#222"/>',
                f'<text x="{LEFT + most * scale + 5:.1f}" y="{y + 13}">{median:.{digits}f}</text>']
    return "\n".join(out + ["</svg>"]) + "\n"
