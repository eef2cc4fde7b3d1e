"""Bakes, checks and publishes the appliance's disk image."""
