"""An in-memory twin of the job engine: flows run at once, in this process, without queues. For tests and factories."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.services.queue import Workflow
from workers import flows
from workers.execute import TryAgain, crashed, execute
from workers.work import Answer, Unit

_FLOWS: dict[str, Callable[[flows.Engine, int, int], None]] = {
    "import_dataset": flows.import_dataset,
    "check_model": flows.check_model,
    "audit_run": flows.audit_run,
    "answer_query": flows.answer_query,
}


@dataclass
class Twin:
    """A `flows.Engine` that does everything on the spot, and remembers which units it ran."""

    device: str = "cpu"
    tries: int = 4
    pause: float = 0.0
    """Seconds between two tries."""
    ran: list[Unit] = field(default_factory=list)

    def run_workflow(self, workflow: Workflow, subject_id: int, attempt: int = 0) -> None:
        """Do what `app.services.queue.enqueue` would have submitted."""
        _FLOWS[workflow](self, subject_id, attempt)

    def step(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function."""
        return function(*args)

    def submit(self, unit: Unit, device_queue: str, name: str) -> _Ready:
        """Run a unit; its answer is ready."""
        return _Ready(self.run(unit))

    def run(self, unit: Unit) -> Answer:
        """Run a unit, as often as the engine would."""
        self.ran.append(unit)
        message = ""
        for _ in range(self.tries):
            try:
                return execute(unit, self.device)
            except TryAgain as error:
                message = str(error)
                time.sleep(self.pause)
        return crashed(message)


@dataclass(frozen=True)
class _Ready:
    settled: Answer

    def answer(self) -> Answer:
        """Return it."""
        return self.settled
