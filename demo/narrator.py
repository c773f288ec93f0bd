"""The only place where the demo speaks: headings, ticks, progress bars, and what did not hold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

WIDTH = 100
Advance = Callable[[], None]


class DidNotHold(Exception):
    """Something that the story promises did not happen; the message says what."""


class Narrator:
    """Tells the story to a person; into a pipe the same text without bars."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH

    @classmethod
    def silent(cls) -> Narrator:
        """One who tells nothing."""
        return cls(Console(quiet=True))

    def part(self, number: int, title: str) -> None:
        """A heading."""
        self.console.print(f"\n[bold]{number}. {escape(title)}[/]")

    def says(self, sentence: str) -> None:
        """A sentence."""
        self._print(escape(sentence))

    def does(self, name: str, outcome: str) -> None:
        """One step of a run."""
        self._print(f"[cyan]{escape(name)}[/]  [dim]{escape(outcome)}[/]", indent=5)

    def quotes(self, title: str, text: str) -> None:
        """What somebody wrote, in a frame."""
        framed = Panel(escape(text), title=escape(title), title_align="left", border_style="dim")
        self.console.print(Padding(framed, (0, 0, 0, 3)))

    def lists(self, rows: Sequence[Sequence[str]], *, head: Sequence[str] = ()) -> None:
        """A small table."""
        table = Table(box=None, show_header=bool(head), header_style="dim", padding=(0, 2))
        for at in range(max(map(len, rows), default=0)):
            table.add_column(head[at] if head else "", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self.console.print(Padding(table, (0, 0, 0, 1), expand=False))

    def holds(self, sentence: str, condition: object, *, otherwise: str = "") -> None:
        """A tick, if it holds. Raises DidNotHold, with what was found instead."""
        if not condition:
            found = f" {otherwise}" if otherwise else ""
            raise DidNotHold(f"This did not hold: {sentence}{found}")
        self._print(f"[green]✓[/] {escape(sentence)}")

    def fails(self, sentence: str) -> None:
        """What went wrong."""
        self.console.print(f"\n[bold red]✗[/] {escape(sentence)}")

    def log(self, name: str, lines: str) -> None:
        """The end of a process's log."""
        self.console.print(f"\n[dim]The end of the {escape(name)}'s log:[/]\n{escape(lines)}")

    @contextmanager
    def progress(self, title: str, total: int | None = None) -> Iterator[Advance]:
        """A bar for `total` pieces of work, or a moving one for what has no pieces.

        Yields what is to be called after each piece.
        """
        began = time.monotonic()
        with self._bar() as bar:
            task = bar.add_task(escape(title), total=total)
            yield lambda: bar.advance(task)
        seconds = time.monotonic() - began
        self._print(f"[green]✓[/] {escape(title)} [dim]{seconds:.1f} s[/]")

    @contextmanager
    def stages(self) -> Iterator[Callable[[str], None]]:
        """Yields what names the stage that begins now, and ends the one before with a tick."""
        current: list[tuple[str, float]] = []

        def end() -> None:
            title, began = current.pop()
            seconds = time.monotonic() - began
            self._print(f"[green]✓[/] {escape(title)} [dim]{seconds:.1f} s[/]")

        with self._bar() as bar:
            task = bar.add_task("", total=None)

            def begin(title: str) -> None:
                if current:
                    end()
                current.append((title, time.monotonic()))
                bar.update(task, description=escape(title))

            yield begin
        if current:
            end()

    def _bar(self) -> Progress:
        columns: list[Any] = [TextColumn("  "), SpinnerColumn(), TextColumn("{task.description}")]
        columns += [BarColumn(bar_width=30), TimeElapsedColumn()]
        seen = self.console.is_terminal
        return Progress(*columns, console=self.console, transient=True, disable=not seen)

    def _print(self, markup: str, *, indent: int = 3) -> None:
        self.console.print(Padding(markup, (0, 0, 0, indent), expand=False))
