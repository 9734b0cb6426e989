"""How long tests wait for what will come."""

PATIENCE_S = 60.0
"""For limits that no test is to reach, on however busy a machine; in seconds."""
