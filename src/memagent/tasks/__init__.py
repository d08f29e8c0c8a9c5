"""Problems with known answers: generated, built from published questions, or a user's own.

Training and evaluation draw from the same functions. Nothing here knows how a problem is solved.
"""

from __future__ import annotations

from memagent.tasks.problem import Problem

__all__ = ["Problem"]
