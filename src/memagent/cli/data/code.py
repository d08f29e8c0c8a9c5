"""`memagent data code`."""

from memagent.cli.data.building import other_command
from memagent.tasks import code

command = other_command(
    "code", "Questions over a code base", code, "A folder of Python files (default: the standard library)."
)
