"""Serving: an OpenAI-compatible API in front of a reader. It knows requests and readings, not training."""
