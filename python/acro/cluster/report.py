"""Writes `report.html`: a sweep on one page that needs no other file."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from acro.cluster.outcomes import COLUMNS, EXPLANATION, Group, Outcome, best_of, table_of
from acro.cluster.space import Dimension
from acro.drawing.parallel import ParallelAxis, draw_parallel
from acro.formatting import format_mean
from acro.storage.files import replacing

# Browsers are slow with larger pages, so further GIFs are linked, and only show beside the folder.
_MOST_BYTES = 48 << 20

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: left; border-bottom: 1px solid #8884; }
.wide { overflow-x: auto; }
img { max-width: 100%; background: white; border-radius: 4px; }
.trials { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; padding: .7rem; border: 1px solid #8884; border-radius: 6px; }
figcaption { overflow-wrap: anywhere; font-size: 13px; }
pre { overflow-x: auto; padding: .7rem; background: #8881; border-radius: 6px; font-size: 13px; }
.best { font-weight: 600; }
"""


def write_report(
    path: Path,
    title: str,
    command: str,
    groups: Sequence[Group],
    space: Sequence[Dimension],
    *,
    curves: Path,
    best_config: Path,
) -> None:
    """Write the page.

    Args:
        path: The file.
        title: The page's title.
        command: The command line of the sweep.
        groups: The configurations.
        space: The search space; empty for seeds and grids.
        curves: The picture of the learning curves; left out if the file does not exist.
        best_config: The file with the best configuration's settings; left out if it does not exist.
    """
    best = best_of(groups)
    parts = [
        f"<h1>{html.escape(title)}</h1>",
        f"<p><code>{html.escape(command)}</code></p>",
        _table(groups, best),
        f"<p>{html.escape(EXPLANATION)}</p>",
    ]
    if curves.is_file():
        parts.append(f"<h2>Learning curves</h2>{_picture(curves.read_bytes(), 'png', 'learning curves')}")
    if picture := _parallel(groups, space):
        parts.append(f"<h2>What did well</h2>{picture}")
    if best is not None and best_config.is_file():
        parts.append(
            f"<h2>The best configuration: {html.escape(best.name)}</h2>"
            f"<p><code>python -m acro.fit --config {html.escape(best_config.name)}</code> trains it again.</p>"
            f"<pre>{html.escape(best_config.read_text())}</pre>"
        )
    parts.append(f'<h2>Every trial</h2><div class="trials">{_trials(groups)}</div>')
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    with replacing(path) as file:
        file.write(page.encode())


def _table(groups: Sequence[Group], best: Group | None) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in COLUMNS)
    rows = "".join(
        f"<tr{_class(best is not None and row[0] == best.name)}>"
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
        + "</tr>"
        for row in table_of(groups)
    )
    table = f'<table id="configurations"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def _class(is_best: bool) -> str:
    return ' class="best"' if is_best else ""


def _trials(groups: Sequence[Group]) -> str:
    figures, left = [], _MOST_BYTES
    for group in groups:
        for outcome in group.outcomes:
            gif = outcome.trial.run.folder / "final.gif"
            image = ""
            if gif.is_file():
                size = gif.stat().st_size
                alternative = f"{group.name}, seed {outcome.trial.seed}"
                if size <= left:
                    left -= size
                    image = _picture(gif.read_bytes(), "gif", alternative)
                else:
                    source = html.escape(gif.relative_to(outcome.trial.folder).as_posix())
                    image = f'<img src="{source}" loading="lazy" alt="{html.escape(alternative)}">'
            figures.append(f'<figure class="trial">{image}<figcaption>{_caption(group, outcome)}</figcaption></figure>')
    return "".join(figures)


def _caption(group: Group, outcome: Outcome) -> str:
    lines = [f"<strong>{html.escape(group.name)}, seed {outcome.trial.seed}</strong>: {html.escape(outcome.state)}"]
    if outcome.mean is not None:
        lines.append(f"mean {format_mean(outcome.mean)}, median {outcome.median:g}, worst {outcome.worst:g}")
    elif outcome.best_point is not None:
        lines.append(f"best evaluation {format_mean(outcome.best_point.mean)} at step {outcome.best_point.step:,}")
    if outcome.solved_step is not None:
        lines.append(f"solved (&ge; {outcome.solved_return:g}) at step {outcome.solved_step:,}")
    lines += [html.escape(f"{name} {value}") for name, value in outcome.trial.settings.items()]
    return "<br>".join(lines)


def _parallel(groups: Sequence[Group], space: Sequence[Dimension]) -> str:
    known = [group for group in groups if group.score > -float("inf") and group.settings]
    # Settings that are the same everywhere are left out.
    names = [
        name for name in (known[0].settings if known else {}) if len({group.settings[name] for group in known}) > 1
    ]
    if not names:
        return ""
    logarithmic = {dimension.name for dimension in space if dimension.is_logarithmic}
    axes = [ParallelAxis(name, [group.settings[name] for group in known], name in logarithmic) for name in names]
    picture = io.BytesIO()
    draw_parallel(axes, [group.score for group in known]).savefig(picture, format="png", dpi=150)
    return _picture(picture.getvalue(), "png", "settings and scores")


def _picture(content: bytes, kind: str, alternative: str) -> str:
    return f'<img src="data:image/{kind};base64,{base64.b64encode(content).decode()}" alt="{html.escape(alternative)}">'
