"""Formats rows as tables in Markdown."""

from collections.abc import Sequence

from proofs.bench.results import Row

NOTHING = "–"


def table(rows: Sequence[Row]) -> str:
    """Returns a table with one row for each contender."""
    conditions = sorted({name for row in rows for name in row.error_rates})
    head = ["", "contender", "x", "÷ (a)", "CPU s per s", "p50 / p95 s", "peak MiB", "WER"]
    head += [*(f"WER {name}" for name in conditions), "words in none"]
    return _markdown(head, [[*_cells(row), *_accuracy(row, conditions)] for row in rows])


def service_table(rows: Sequence[Row]) -> str:
    """Returns a table with one row for each number of clients of the service."""
    head = ["clients", "x", "p50 / p95 s", "/healthz p95 / max ms", "idle MiB", "peak MiB"]
    return _markdown(
        head,
        [
            [
                str(row.clients),
                f"{row.speed:.1f}",
                f"{row.latency_p50:.1f} / {row.latency_p95:.1f}",
                f"{_number(row.health_p95_ms, 0)} / {_number(row.health_max_ms, 0)}",
                _number(row.idle_mib, 0),
                f"{row.peak_mib:.0f}",
            ]
            for row in rows
        ],
    )


def _cells(row: Row) -> list[str]:
    return [
        row.letter,
        f"{row.title} (`{row.way}`)",
        f"{row.speed:.1f}",
        _number(row.ratio, 2),
        f"{row.cpu_per_channel_second:.4f}",
        f"{row.latency_p50:.1f} / {row.latency_p95:.1f}",
        f"{row.peak_mib:.0f}",
    ]


def _accuracy(row: Row, conditions: Sequence[str]) -> list[str]:
    rates = [row.error_rate, *(row.error_rates.get(name) for name in conditions)]
    return [*(NOTHING if rate is None else f"{rate:.1%}" for rate in rates), _number(row.wordless_words, 0)]


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
