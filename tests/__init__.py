"""Tests of Cardroom."""
