"""The actor runtime and the actors that own rooms and chat sessions."""
