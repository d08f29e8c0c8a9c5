"""Questions among other paragraphs: RULER-HotpotQA, and the same construction for four more datasets.

`load` reads a dataset, `fitting` tells which of its questions a run can take, `build` makes a problem of any
length. It does not know who solves them.
"""

from memagent.tasks.qa.building import build, fitting
from memagent.tasks.qa.corpus import Corpus, Paragraph, Question, side
from memagent.tasks.qa.datasets import DATASETS, load, missing

__all__ = ["DATASETS", "Corpus", "Paragraph", "Question", "build", "fitting", "load", "missing", "side"]
