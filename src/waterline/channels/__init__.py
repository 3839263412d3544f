"""Where people talk to an app: a message in, messages out."""
