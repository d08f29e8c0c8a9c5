"""`memagent data 2wiki`."""

from memagent.cli.data.building import questions_command

command = questions_command("2wiki", "2WikiMultihopQA's questions")
