"""Figures for papers: the panels' charts drawn by matplotlib, which is imported when one is drawn."""
