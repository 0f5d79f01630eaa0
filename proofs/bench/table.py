"""Formats rows as tables in Markdown."""

from collections.abc import Sequence

from proofs.bench.bootstrap import Difference
from proofs.bench.lone import LoneRow
from proofs.bench.results import Row

NOTHING = "–"


def table(rows: Sequence[Row]) -> str:
    """Returns a table with one row for each contender."""
    conditions = sorted({name for row in rows for name in row.error_rates})
    head = [
        "",
        "contender",
        "x",
        "÷ (a)",
        "÷ (e)",
        "÷ (c)",
        "CPU s per s",
        "idle",
        "p50 / p95 s",
        "peak MiB",
        "WER",
        "WER known",
    ]
    head += [*(f"WER {name}" for name in conditions), "words per hour of sounds"]
    return _markdown(head, [[*_cells(row), *_accuracy(row, conditions)] for row in rows])


def service_table(rows: Sequence[Row]) -> str:
    """Returns a table with one row for each number of clients of the service."""
    head = ["clients", "x", "CPU s per s", "idle", "p50 / p95 s", "/healthz p95 / max ms", "idle MiB", "peak MiB"]
    return _markdown(
        head,
        [
            [
                str(row.clients),
                f"{row.speed:.1f}",
                f"{row.cpu_per_channel_second:.4f}",
                f"{row.idle_share:.0%}",
                f"{row.latency_p50:.1f} / {row.latency_p95:.1f}",
                f"{_number(row.health_p95_ms, 0)} / {_number(row.health_max_ms, 0)}",
                _number(row.idle_mib, 0),
                f"{row.peak_mib:.0f}",
            ]
            for row in rows
        ],
    )


def difference_table(differences: Sequence[Difference]) -> str:
    """Returns a table of the word error rates of two contenders."""
    head = ["calls", "number", "WER of", "and of", "difference, points", "95 %"]
    return _markdown(
        head,
        [
            [
                each.condition,
                str(each.calls),
                f"{each.first}: {each.first_rate:.1%}",
                f"{each.second}: {each.second_rate:.1%}",
                f"{100 * (each.first_rate - each.second_rate):+.1f}",
                f"{100 * each.lowest:+.1f} to {100 * each.highest:+.1f}",
            ]
            for each in differences
        ],
    )


def lone_table(rows: Sequence[LoneRow]) -> str:
    """Returns a table with one row for each length of a call that is transcribed alone."""
    head = ["one call of", "calls", "(a), s", "our service, s", "(a) ÷ ours"]
    return _markdown(
        head,
        [[row.length, str(row.calls), f"{row.theirs:.2f}", f"{row.ours:.2f}", f"{row.ratio:.2f}"] for row in rows],
    )


def invented_table(rows: Sequence[Row]) -> str:
    """Returns a table of the texts that contenders wrote for sounds without words."""
    lines = [[row.letter, sound, text] for row in rows for sound, text in row.invented.items()]
    return _markdown(["", "sound", "what was written"], lines)


def _cells(row: Row) -> list[str]:
    return [
        row.letter,
        f"{row.title} (`{row.way}`)",
        f"{row.speed:.1f}",
        _number(row.ratio, 2),
        _number(row.of_limit, 2),
        _number(row.of_engine, 2),
        f"{row.cpu_per_channel_second:.4f}",
        f"{row.idle_share:.0%}",
        f"{row.latency_p50:.1f} / {row.latency_p95:.1f}",
        f"{row.peak_mib:.0f}",
    ]


def _accuracy(row: Row, conditions: Sequence[str]) -> list[str]:
    rates = [row.error_rate, row.known_error_rate, *(row.error_rates.get(name) for name in conditions)]
    return [*(NOTHING if rate is None else f"{rate:.1%}" for rate in rates), _number(row.words_per_hour, 0)]


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    if any(len(cells) != len(head) for cells in lines):
        raise ValueError("each line of a table needs one cell for each column")
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *lines])
