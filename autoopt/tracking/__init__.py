"""Tracking: MLflow as a view of the study. The study is the truth: a view that is down never stops or loses a trial."""
