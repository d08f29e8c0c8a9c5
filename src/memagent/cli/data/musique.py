"""`memagent data musique`."""

from memagent.cli.data.building import questions_command

command = questions_command("musique", "MuSiQue's questions")
