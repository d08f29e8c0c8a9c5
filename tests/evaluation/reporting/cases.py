"""Outcomes made by hand, and what runs nowhere though it stands everywhere."""

from memagent.evaluation.outcome import Outcome, Peak

EVIL = "</script><script>document.title='x'</script><img src=x onerror=\"document.title='y'\"> & <b>b</b> \ud800 \u2028"
LABELS = {8192: "8k", 16384: "16k", 65536: "64k"}


def outcome(method="gated", task="vt", length=8192, index=0, score=1.0, **changes):
    given = {
        "problem": f"{task}-{length}-{index}", "index": index, "task": task, "metric": "ruler_all", "method": method,
        "length": length, "label": LABELS.get(length, str(length)), "status": "answered",
        "question": f"Question {index}?", "references": ("blue",), "reply": "It is blue.", "answer": "blue",
        "score": score, "scores": {"ruler_all": score, "em": score / 2}, "seconds": length / 1000,
        "prompt_tokens": length + 100, "completion_tokens": 20, "model_calls": 3, "reading_id": f"{method}-{index}",
    }  # fmt: skip
    return Outcome(**{**given, **changes})


def grid(methods=("gated", "full"), tasks=("vt", "fwe"), lengths=(8192, 16384, 65536), count=4):
    """Outcomes of every method, task and length; the later a method, the fewer are right."""
    return [
        outcome(method, task, length, index, score=float(index >= methods.index(method)))
        for method in methods
        for task in tasks
        for length in lengths
        for index in range(count)
    ]


def peaks(outcomes, growth=1000):
    cells = dict.fromkeys((one.method, one.length) for one in outcomes)
    return [Peak(method=method, length=length, resident=10**9 + growth * length) for method, length in cells]


def turns(reading):
    """A reading of five turns: kept, added to, refused, written, kept."""
    made = [("keep", None, None), ("add", f"The sky was blue. {EVIL}", None), ("failed", None, f"refused {EVIL}"),
            ("write", f"Blue, then grey. {EVIL}", None), ("keep", None, None)]  # fmt: skip
    return [
        {"outcome": kind, "end": 100 * at, "memory": memory, "error": error,
         "evidence": [{"quote": f"blue {EVIL}"}] if memory else []}
        for at, (kind, memory, error) in enumerate(made, start=1)
    ]  # fmt: skip
