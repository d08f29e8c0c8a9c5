"""`memagent data dialogue`."""

from memagent.cli.data.building import other_command
from memagent.tasks import dialogue

command = other_command(
    "dialogue",
    "Questions over a long dialogue history",
    dialogue,
    "The text that is talked about: report, train or a file.",
)
