"""The folder of a run, and its part of the store: settings, results and documents."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asim_lightning.evaluation.results import Result, canonical_json, digest_of
from asim_lightning.evaluation.run import RESULTS, SETTINGS, TRADED, Run, result_rows
from asim_lightning.evaluation.store import Store
from asim_lightning.exploration.fingerprint import Fingerprint, idle_callbacks
from asim_lightning.exploration.runner import Work
from asim_lightning.whole_file import write_lines, write_whole

_ANSWERS = "answers"
"""Name of the documents with the answers of networks to their probes."""
_PAUSE, _SHARE = 5.0, 20
"""Pause between two exports of the table: at least so many seconds, and so many times the last export."""


class RunFolder:
    """Settings, results and documents of a run; the first process writes them.

    Args:
        work: The folder of the store, and the trainer.
        store: The store.
        kind: Kind of the run, such as sweep or search.
        names: Names of the axes.
        made: The fingerprint of the network.
        described: Other settings that name the run's folder, and decide no outcome.
    """

    def __init__(
        self,
        work: Work,
        store: Store,
        kind: str,
        names: Sequence[str],
        made: Fingerprint,
        described: Mapping[str, object] = {},
    ) -> None:
        self.store, self.names = store, list(names)
        settings = {**made.settings, "axes": sorted(names), **described}
        if work.noise_in != "written":
            settings["noise_in"] = work.noise_in
        self.path = Path(work.folder) / f"{kind}-{digest_of(settings)[:8]}"
        self.notes = tuple(
            f"a {kind} calls no hook of {each} for a test; asim test does" for each in idle_callbacks(work.trainer)
        )
        """Messages for the user before the points are evaluated, a line each."""
        self._next_export = 0.0
        if work.trainer.is_global_zero:
            self.notes = (*_changes(store, made), *self.notes)
            store.write(self.path.name, SETTINGS, settings)
            text = json.dumps(settings, indent=2, sort_keys=True, default=str) + "\n"
            write_whole(self.path / SETTINGS, lambda file: file.write(text.encode()))

    def write(self, name: str, document: object) -> None:
        """Store a document of the run."""
        self.store.write(self.path.name, name, document)

    def clear(self) -> None:
        """Remove all results of the run; their trials stay."""
        self.store.clear_points(self.path.name)

    def leave_out(self, results: Sequence[Result]) -> None:
        """Remove results of files that have changed since, with a message; their trials stay."""
        for result in results:
            self.store.remove_point(self.path.name, _name(result))
        if count := len(results):
            said = (
                f"left out {count:,} row{'s' * (count > 1)} of earlier commands, because their file has changed since"
            )
            self.notes += (f"store    {said}",)

    def keep(self, result: Result) -> None:
        """Store the result of a point, and write the run's table now and then."""
        point = _name(result)
        if result.chips and (stored := self.store.point(self.path.name, point)) is not None:
            result = result.with_chips_of(Result.of_json(stored))
        self.store.keep_point(self.path.name, point, result.trials, asdict(result))
        if (start := time.monotonic()) >= self._next_export:
            self.export()
            end = time.monotonic()
            self._next_export = end + max(_PAUSE, _SHARE * (end - start))

    def results(self) -> tuple[Result, ...]:
        """The finished points of the run, in the order in which they were first finished."""
        try:
            return tuple(map(Result.of_json, self.store.points(self.path.name)))
        except (LookupError, TypeError, AttributeError) as error:
            self.store.mend(error)
        return tuple(map(Result.of_json, self.store.points(self.path.name)))

    def export(self) -> None:
        """Write results.csv: one row for each finished point of the run."""
        traded: dict[str, Any] = self.store.read(self.path.name, TRADED) or {}
        traded = {name: tuple(values) for name, values in traded.items()}
        run = Run(self.path, self.results(), **traded)
        write_lines(self.path / RESULTS, result_rows(run, list(dict.fromkeys([*self.names, *run.axes]))), "\n")


def _name(result: Result) -> str:
    """The name of a point in the store."""
    return canonical_json({"axes": result.axes, "kind": result.kind})


def _changes(store: Store, made: Fingerprint) -> Iterator[str]:
    """A line if the trials of earlier commands have other keys only because of a version, processor or object."""
    if store.earlier_version is not None:
        yield f"store    trials of version {store.earlier_version} stay in {store.path}, and are not read"
    now, last = made.answers, store.read(_ANSWERS, made.by_values)
    if now is None:
        return
    if made.never_again:
        yield f"store    {made.never_again}, so no trial of another run is used"
        return
    if last is not None and last["digest"] != now.digest:
        why = "an object, file or variable that it uses has changed"
        if last["processor"] != now.processor:
            why = f"{now.processor} rounds in another way than {last['processor']}"
        yield f"store    the network answers otherwise than in the last run, whose trials are not reused: {why}"
    store.write(_ANSWERS, made.by_values, asdict(now))
