"""The results on paper: Markdown for docs/benchmarks.md, plots as SVG."""

import dataclasses
import pathlib
import statistics
from html import escape

CLIENTS = ("sm-tls-sync", "bash, curl, jq", "Python, IBM's SDKs")
PAGE = "docs/benchmarks.md"
BEGIN, END = "<!-- scripts/bench -->", "<!-- /scripts/bench -->"
# Code Engine's smallest size
CPUS, GIGABYTES = 0.125, 0.25


@dataclasses.dataclass
class Results:
    """Samples by targets, setting and client; the floor by setting; traffic by targets and client."""

    samples: dict[tuple[int, str, str], list[dict[str, float]]] = dataclasses.field(default_factory=dict)
    floor: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    traffic: dict[tuple[int, str], dict[str, int]] = dataclasses.field(default_factory=dict)

    def of(self, count: int, setting: str, client: str, what: str) -> list[float]:
        """All samples of one kind."""
        return [sample[what] for sample in self.samples[count, setting, client]]

    def median(self, count: int, setting: str, client: str, what: str) -> float:
        """Their median."""
        return statistics.median(self.of(count, setting, client, what))


@dataclasses.dataclass(frozen=True)
class About:
    """Where and what was measured."""

    date: str
    machine: str
    binary: int
    image: int | None
    plan: list[tuple[int, str, int]]  # targets, setting, runs
    priced: str
    slow: str
    zero: str


def require_place(root: pathlib.Path) -> None:
    """The page has the two marks, before anything is measured."""
    text = (root / PAGE).read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"scripts/bench: {PAGE} needs {BEGIN} and {END}, once each, in lines of their own")


def spread(values: list[float]) -> str:
    """Median, and from the least to the most."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f}–{max(values):,.0f})"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of a table; all columns but the first two are numbers."""
    rule = ["---" if column < 2 else "--:" for column in range(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in [head, rule, *rows]] + [""]


def duration_at_smallest_size(results: Results, setting: str, client: str) -> float:
    """Seconds of one run with an eighth of a CPU: waiting stays, computing takes eight times as long."""
    wall, cpu = (results.median(1, setting, client, what) / 1000 for what in ("wall", "cpu"))
    return max(wall - cpu, 0) + cpu / CPUS


def markdown(results: Results, about: About, held: list[tuple[str, float, float, bool]]) -> str:
    """The whole section."""
    lines = [
        "<picture>",
        '<source media="(prefers-color-scheme: dark)" srcset="bench-dark.svg">',
        '<img src="bench-light.svg" alt="Wall time and peak memory of sm-tls-sync and the two clients that it is compared with">',
        "</picture>",
        "",
        f"{about.date}; {about.machine}. Wall time in milliseconds from the start of the process to its end:",
        "median (minimum–maximum). *Four calls*: IAM, Code Engine, Secrets Manager and the write alone, with the",
        "same libraries, one after the other, without the start of a process. The other two clients make the same",
        "calls but do no validation. Each client processes 8 targets at a time.",
        "",
    ]
    rows = []
    for count, setting, runs in about.plan:
        measured = [client if (count, setting, client) in results.samples else None for client in CLIENTS]
        walls = [spread(results.of(count, setting, client, "wall")) if client else "" for client in measured]
        floor = f"{statistics.median(results.floor[setting]):,.0f}" if count == 1 else ""
        rows.append([str(count), setting, str(runs), floor, *walls])
    lines += table(["targets", "setting", "runs", "four calls", *CLIENTS], rows)

    lines += ["What a run needs, at zero latency (bytes in both directions, with TLS):", ""]
    rows = []
    for count in sorted({count for count, setting, _ in about.plan if setting == about.zero}):
        for client in CLIENTS:
            if (count, about.zero, client) not in results.samples:
                continue
            memory = results.median(count, about.zero, client, "memory")
            cpu = results.median(count, about.zero, client, "cpu")
            traffic = results.traffic[count, client]
            counts = [f"{traffic[what]:,}" for what in ("requests", "connections")]
            kilobytes = f"{traffic['bytes'] / 1000:,.0f} kB"
            rows.append([str(count), client, f"{memory:.1f} MiB", f"{cpu:,.0f} ms", *counts, kilobytes])
    lines += table(["targets", "", "peak memory", "CPU time", "requests", "connections", "bytes"], rows)

    image = f" Image: {about.image / 1e6:.2f} MB." if about.image is not None else ""
    sizes = f"Binary: {about.binary / 1e6:.2f} MB.{image}"
    lines += [
        f"{sizes} One run at Code Engine's smallest size ({CPUS} vCPU, {GIGABYTES} GB), computed from",
        f"one target with {about.priced}: the waiting as measured, the CPU time at an eighth of a",
        "CPU. The time to pull the image and to start the container is not included:",
        "",
    ]
    for client in CLIENTS:
        seconds = duration_at_smallest_size(results, about.priced, client)
        price = f"{seconds * CPUS:.3f} vCPU-seconds and {seconds * GIGABYTES:.3f} GB-seconds"
        lines.append(f"- {client}: {seconds:.2f} s = {price}")
    lines += ["", "The bars that each measurement must meet:", ""]
    rows = [[text, "yes" if holds else "**no**", f"{value:.2f}", f"{limit:g}"] for text, value, limit, holds in held]
    lines += table(["", "holds", "measured", "limit"], rows)
    return "\n".join(lines)


def publish(root: pathlib.Path, text: str, results: Results, about: About) -> None:
    """Writes between the marks of the page, and the plots; nothing else changes."""
    page = root / PAGE
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")
    (root / "docs").mkdir(exist_ok=True)
    panels = [
        ("Wall time, one target, zero latency", "ms", about.zero, 1, "wall"),
        ("Peak memory, one target", "MiB", about.zero, 1, "memory"),
        (f"Wall time, one target, {about.priced}", "ms", about.priced, 1, "wall"),
        (f"Wall time, 100 targets, {about.slow}", "ms", about.slow, 100, "wall"),
    ]
    for theme in THEMES:
        drawn = []
        for title, unit, setting, count, what in panels:
            bars = [(client, results.median(count, setting, client, what)) for client in CLIENTS]
            if setting == about.priced:
                bars.append(("the four calls", statistics.median(results.floor[setting])))
            drawn.append((title, unit, bars))
        (root / "docs" / f"bench-{theme}.svg").write_text(plot(drawn, **THEMES[theme]), encoding="utf-8")


# colours that stay apart for colour-blind eyes, on both grounds
THEMES = {
    "light": {"ground": "#ffffff", "ink": "#1f2328", "faint": "#d1d9e0", "colours": ("#0969a8", "#8c959f", "#d9822b", "#d1d9e0")},
    "dark": {"ground": "#0d1117", "ink": "#e6edf3", "faint": "#30363d", "colours": ("#58a6e6", "#8b949e", "#e59a4a", "#30363d")},
}
WIDTH, COLUMN, PANEL, LABEL, BAR, ROW = 860, 430, 170, 130, 22, 32


def plot(
    panels: list[tuple[str, str, list[tuple[str, float]]]], ground: str, ink: str, faint: str, colours: tuple
) -> str:
    """Panels of horizontal bars, two side by side, each with a scale of its own from zero."""
    height = PANEL * ((len(panels) + 1) // 2) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img"'
        ' font-family="system-ui, sans-serif" font-size="12">',
        "<title>sm-tls-sync and the two clients that it is compared with</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="{ground}"/>',
    ]
    for number, (title, unit, bars) in enumerate(panels):
        left, top = 12 + number % 2 * COLUMN, 24 + number // 2 * PANEL
        room = COLUMN - LABEL - 100
        out.append(f'<text x="{left}" y="{top}" fill="{ink}" font-weight="600">{escape(title)}</text>')
        zero = left + LABEL
        out.append(f'<path d="M{zero} {top + 10}v{len(bars) * ROW}" stroke="{faint}"/>')
        longest = max(value for _, value in bars)
        for row, ((label, value), colour) in enumerate(zip(bars, colours, strict=False)):
            y = top + 15 + row * ROW
            length = value / longest * room
            shown = f"{value:,.1f}" if value < 100 else f"{value:,.0f}"
            out += [
                f'<text x="{zero - 8}" y="{y + 15}" fill="{ink}" text-anchor="end">{escape(label)}</text>',
                f'<rect x="{zero}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour}"/>',
                f'<text x="{zero + length + 6:.1f}" y="{y + 15}" fill="{ink}">{shown} {unit}</text>',
            ]
    return "\n".join([*out, "</svg>", ""])
