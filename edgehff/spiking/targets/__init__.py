"""Chips that spike: what each can hold, and its arithmetic in integers."""
