"""Operations of connectors that an app offers to others as tools: app.toml [mcp]."""

KEY = "idempotency_key"  # the argument of a tool that changes something


def tool_name(offered: str) -> str:
    """ "crm.note" is the tool crm_note: models take no points in names."""
    return offered.replace(".", "_", 1)
