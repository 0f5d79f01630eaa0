"""Shows what the OpenAI-shaped door promises to clients that wait, give up, repeat a request or meet a crash."""
