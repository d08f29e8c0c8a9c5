"""What an OpenAI-compatible endpoint is and says; `models/openai.py` makes a model of it."""
