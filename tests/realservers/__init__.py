"""Real servers for the tests of connectors: each started once a session, on a free port, in a folder of its own."""
