"""`memagent data squad`."""

from memagent.cli.data.building import questions_command

command = questions_command("squad", "SQuAD's questions")
