"""PostgreSQL on trio: pool, journal, hydration, listener, migrations."""
