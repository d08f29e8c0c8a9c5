"""`memagent data hotpotqa`."""

from memagent.cli.data.building import questions_command

command = questions_command("hotpotqa", "HotpotQA's questions")
