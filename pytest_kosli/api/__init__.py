"""The ways to the services: over the wire, or from cassettes."""
