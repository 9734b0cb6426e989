"""The Python client: trio, reconnecting, hydrating, typed."""
