"""The bill as a picture: how each lever, added to those before it, takes it down. Plain SVG."""

from collections.abc import Sequence
from html import escape

_HALO = 'fill="#1a2733" stroke="#ffffff" stroke-width="4" paint-order="stroke"'
WIDTH, ROW, LEFT, RIGHT, TOP = 760, 34, 190, 120, 46


def waterfall(steps: Sequence[tuple[str, float]], target: float, beside: tuple[str, float]) -> str:
    """`steps`: (what, the bill after it), the baseline first. `beside`: another bill, drawn apart."""
    most = max(usd for _, usd in steps)
    scale = (WIDTH - LEFT - RIGHT) / most
    height = TOP + ROW * (len(steps) + 1) + 38
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        f'font-size="13"><rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text x="12" y="24" font-size="15" fill="#1a2733">USD a month, each lever added to those above it</text>',
    ]
    x = LEFT + target * scale
    parts.append(
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 8}" y2="{height - 24}" stroke="#b4432f" stroke-dasharray="4 3"/>'
    )
    before = 0.0
    for number, (name, usd) in enumerate(steps):
        y = TOP + ROW * number
        parts.append(f'<text x="{LEFT - 10}" y="{y + 18}" text-anchor="end" fill="#1a2733">{escape(name)}</text>')
        parts.append(_bar(LEFT, y, usd * scale, "#1f6f8b"))
        if number and before > usd:
            parts.append(_bar(LEFT + usd * scale, y, (before - usd) * scale, "#cfe3ea"))
        said = f"{usd:,.0f}" + (f"  ({usd / before - 1:+.0%})" if number and before else "")
        parts.append(f'<text x="{LEFT + max(usd, before) * scale + 8:.1f}" y="{y + 18}" {_HALO}>{said}</text>')
        before = usd
    y = TOP + ROW * len(steps) + 8
    name, usd = beside
    parts.append(f'<text x="{LEFT - 10}" y="{y + 18}" text-anchor="end" fill="#1a2733">{escape(name)}</text>')
    parts.append(_bar(LEFT, y, usd * scale, "#8a6d3b"))
    parts.append(f'<text x="{LEFT + usd * scale + 8:.1f}" y="{y + 18}" {_HALO}>{usd:,.0f}</text>')
    parts.append(f'<text x="{x + 4:.1f}" y="{height - 10}" fill="#b4432f">target {target:,.0f}</text></svg>\n')
    return "\n".join(parts)


def _bar(x: float, y: float, width: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{max(0.0, width):.1f}" height="{ROW - 10}" rx="2" fill="{colour}"/>'
