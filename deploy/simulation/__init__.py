"""Simulation: many virtual sites on one machine, under the ServerApp and the ClientApp that a deployment runs."""
