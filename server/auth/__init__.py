"""Who somebody is: access tokens and rejoin tokens."""
