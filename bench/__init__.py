"""The load harness: scenarios, peers and reports."""
