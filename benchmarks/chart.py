"""A bar chart as SVG: readable without a script or a font of its own, in light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_BAR, _STEP, _TEXT, _WIDTH, _HEAD = 16, 22, 330, 560, 40
_STYLE = (
    "text{font:13px sans-serif;fill:#222}.h{font-weight:bold}.ours{fill:#2a7f62}"
    ".theirs{fill:#9aa5b1}.bg{fill:#fff}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.bg{fill:#1b1f24}.theirs{fill:#67727e}}"
)


def bars(
    title: str, unit: str, groups: Sequence[tuple[str, Sequence[tuple[str, float, bool]]]]
) -> str:
    """Horizontal bars in groups; a bar is (label, value, whether it is ours).

    A bar of more than four times the median of all is cut, with its value beside it as always.
    """
    values = sorted(value for _, rows in groups for _, value, _ in rows)
    if not values:
        return ""
    most = min(values[-1], 4 * values[len(values) // 2])
    y = _HEAD
    parts = [f'<text class="h" x="10" y="22">{escape(title)}</text>']
    for heading, rows in groups:
        parts.append(f'<text class="h" x="10" y="{y + 13}">{escape(heading)}</text>')
        y += _STEP
        for label, value, ours in sorted(rows, key=lambda row: row[1]):
            width = max(1, round(min(value, most) / most * _WIDTH))
            kind = "ours" if ours else "theirs"
            cut = " (cut)" if value > most else ""
            bar = f'x="{_TEXT}" y="{y}" width="{width}" height="{_BAR}"'
            parts += [
                f'<text x="{_TEXT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>',
                f'<rect class="{kind}" {bar}/>',
                f'<text x="{_TEXT + width + 6}" y="{y + 13}">{value:.1f} {unit}{cut}</text>',
            ]
            y += _STEP
        y += _STEP // 2
    size = f"{_TEXT + _WIDTH + 120} {y}"
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img">'
    background = '<rect class="bg" width="100%" height="100%"/>'
    return "\n".join([opening, f"<style>{_STYLE}</style>", background, *parts, "</svg>", ""])
