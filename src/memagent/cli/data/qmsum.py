"""`memagent data qmsum`."""

from memagent.cli.data.building import other_command
from memagent.tasks import qmsum

command = other_command(
    "qmsum", "Summaries of meetings for a query", qmsum, "QMSum's JSON lines, or hub:OWNER/NAME[:CONFIG]."
)
