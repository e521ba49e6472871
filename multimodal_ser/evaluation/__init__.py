"""Evaluation: what a model's answers are worth, and pictures of it."""

from multimodal_ser.evaluation.plots import plot_confusion_matrix

__all__ = ["plot_confusion_matrix"]
