"""Commands whose memory is measured."""

from __future__ import annotations

APART = ("sh", "-c", '"$0" "$@"; exit $?')
"""What such a command begins with: on Linux a process inherits its parent's peak of memory; a shell's is small."""
