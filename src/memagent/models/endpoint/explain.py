"""What the user is told when an endpoint fails for good: one line, with what to do.

It knows the kinds of failures and the tree of errors; it sends nothing and holds no secrets (callers have
scrubbed the failure's detail).
"""

from __future__ import annotations

from memagent.errors import (
    EndpointDown,
    EndpointUnreachable,
    MemagentError,
    SetupError,
    TurnRefused,
    WindowOverflow,
)
from memagent.models.endpoint.failures import Failure
from memagent.models.endpoint.listing import Listing


def explain(failure: Failure, *, host: str, model: str, listing: Listing, answered: bool, tries: int) -> MemagentError:
    """The error for `failure` after `tries` tries; `answered` if this endpoint ever completed a chat.

    An endpoint that has listed its models was there, so that it is down if it answers no more; one that
    sends garbage for chats may still be no chat endpoint at all.
    """
    detail = failure.detail
    if failure.kind == "overflow":
        return WindowOverflow(f"{host}: the prompt does not fit the model's window ({detail})")
    if failure.kind == "refused" or (failure.kind == "rejected" and answered):
        return TurnRefused(f"{host} refuses this text ({detail})")
    if failure.kind == "rejected":
        return SetupError(f"{host} rejects the request ({detail})")
    if failure.kind == "denied":
        return SetupError(f"{host} refuses the key ({detail}): check OPENAI_API_KEY and --base-url")
    if failure.kind == "missing":
        return SetupError(_missing(detail, host, model, listing))
    if failure.kind == "quota":
        spent = f"{host} says that the account's quota is spent ({detail}): top it up"
        return EndpointDown(f"{spent}, then go on with --resume") if answered else SetupError(spent)
    if answered or (listing.names and failure.kind != "garbled"):
        return EndpointDown(f"{host} stays down after {tries} tries ({detail}): go on with --resume once it is back")
    return EndpointUnreachable(
        f"{host} gives no proper answer ({detail}): check --base-url and that the server is running"
    )


def _missing(detail: str, host: str, model: str, listing: Listing) -> str:
    offer = listing.offer(model)
    if offer and model not in listing.names:
        return f"{host} has no model {model!r}; it offers {offer}"
    return f"{host} finds no model {model!r} there ({detail}): check --model and --base-url (most end in /v1)"
