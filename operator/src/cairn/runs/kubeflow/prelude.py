"""What a step's container runs before and after its own command, since Kubeflow Pipelines decides itself where artifacts lie. Pure.

It puts inputs to the paths that the step declares, and copies what the step has written to where the launcher looks for it; so
images work unchanged. Such an image needs `/bin/sh`. Files are linked; directories are copied, as programs such as MLflow refuse
what leads out of one.
"""

from __future__ import annotations

from collections.abc import Sequence

NOT_WRITTEN_CODE = 68
"""Exit code where the step has not written what it declares."""
NOT_WRITTEN = "cairn: nothing was written to"
SCRIPT = f"""\
set -eu
number=$1; shift
while [ "$number" -gt 0 ]; do
  mkdir -p "$(dirname "$2")"
  if [ -d "$1" ]; then cp -R "$1" "$2"; else ln -sfn "$1" "$2"; fi
  shift 2; number=$((number - 1))
done
number=$1; shift
run() {{ shift "$((2 * number))"; "$@"; }}
run "$@"
while [ "$number" -gt 0 ]; do
  [ -e "$2" ] || {{ echo "{NOT_WRITTEN} $2" >&2; exit {NOT_WRITTEN_CODE}; }}
  mkdir -p "$(dirname "$1")"; cp -R "$2" "$1"
  shift 2; number=$((number - 1))
done
"""

Pair = tuple[str, str]
"""Where something lies for Kubeflow Pipelines, and where for the step."""


def with_prelude(
    inputs: Sequence[Pair], outputs: Sequence[Pair], command: Sequence[str]
) -> tuple[Sequence[str], Sequence[str]]:
    """Return command and arguments that put a command's inputs into place, and its outputs."""
    texts = [
        text for pairs in (inputs, outputs) for text in (str(len(pairs)), *(path for pair in pairs for path in pair))
    ]
    return ["sh", "-c", SCRIPT, "cairn"], [*texts, *command]
