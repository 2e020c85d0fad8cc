"""Personalization: a trained network goes on learning on the device of one person, one machine, one room."""
