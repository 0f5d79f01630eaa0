"""Draws throughput and latency of the service by number of clients, as an SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from proofs.bench.results import Row

WIDTH, HEIGHT = 360, 260
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 40, 40
TICKS = 4
STYLE = "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}.line{fill:none;stroke-width:2}"


@dataclass(frozen=True)
class Curve:
    """Says how to draw one figure of every row."""

    name: str
    color: str
    figure: Callable[[Row], float]


THROUGHPUT = (Curve("throughput", "#1f6feb", lambda row: row.speed),)
LATENCY = (
    Curve("p50", "#1f6feb", lambda row: row.latency_p50),
    Curve("p95", "#cf222e", lambda row: row.latency_p95),
)


def plot(rows: Sequence[Row], caption: str) -> str:
    """Returns an SVG with two panels next to each other. `caption` names the machine."""
    left = _panel("Channel-seconds of audio per second", THROUGHPUT, rows)
    right = _panel("Seconds from request to transcript", LATENCY, rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * WIDTH} {HEIGHT + 20}">'
        f'<style>{STYLE}</style><rect width="100%" height="100%" fill="white"/>'
        f'{left}<g transform="translate({WIDTH} 0)">{right}</g>'
        f"{_text(LEFT, HEIGHT + 10, caption)}</svg>\n"
    )


def _panel(title: str, curves: Sequence[Curve], rows: Sequence[Row]) -> str:
    top = _round_up(max(curve.figure(row) for curve in curves for row in rows))
    most = max(row.clients or 1 for row in rows)

    def x(clients: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * clients / most

    def y(figure: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * figure / top

    parts = [_text(LEFT, 18, title), _text((LEFT + WIDTH) / 2, HEIGHT - 6, "concurrent calls", "middle")]
    for tick in range(TICKS + 1):
        height = y(top * tick / TICKS)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>')
        parts.append(_text(LEFT - 6, height + 4, f"{top * tick / TICKS:g}", "end"))
    parts += [_text(x(row.clients or 1), HEIGHT - BOTTOM + 16, str(row.clients), "middle") for row in rows]
    for number, curve in enumerate(curves):
        points = [(x(row.clients or 1), y(curve.figure(row))) for row in rows]
        path = " ".join(f"{across:.1f},{down:.1f}" for across, down in points)
        parts.append(f'<polyline class="line" stroke="{curve.color}" points="{path}"/>')
        parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="{curve.color}"/>' for across, down in points]
        if len(curves) > 1:
            parts.append(f'<circle cx="{LEFT + 12 + 60 * number}" cy="32" r="4" fill="{curve.color}"/>')
            parts.append(_text(LEFT + 20 + 60 * number, 36, curve.name))
    return "".join(parts)


def _round_up(value: float) -> float:
    """Returns the next larger number that gives the ticks round values."""
    steps = (10.0**power * part for power in range(-3, 6) for part in (1, 2, 4, 5))
    return TICKS * next(step for step in steps if TICKS * step >= value)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
