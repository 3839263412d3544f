"""The turns of a conversation: what is understood, decided, done and remembered."""
