"""`memagent data nq`."""

from memagent.cli.data.building import questions_command

command = questions_command("nq", "Questions of NQ")
