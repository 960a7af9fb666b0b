"""The verdict on a run: by proof, else by the eigenvalues near the point to which it goes, else by sight.

Each rule returns a verdict, or ``None`` where it does not apply; the first that does has the word.
"""

from __future__ import annotations

from portable_nn.adversarial.runs.attraction import by_attraction
from portable_nn.adversarial.runs.proofs import PROOFS
from portable_nn.adversarial.runs.run import Run
from portable_nn.adversarial.runs.seen import as_seen, ended, failed
from portable_nn.adversarial.runs.verdict import Verdict


def judge(run: Run) -> Verdict:
    """The verdict on a run."""
    for rule in (failed, *PROOFS, ended, by_attraction):
        found = rule(run)
        if found:
            return found
    return as_seen(run)
