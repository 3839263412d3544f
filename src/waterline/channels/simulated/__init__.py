"""A Cloud API of WhatsApp with telephones: stands in for Meta's in tests, drills and demos, never for a real one."""
