"""Pipit: a smart speaker that talks to any realtime voice agent, and to nobody before it is called."""

__version__ = "0.1.0"
