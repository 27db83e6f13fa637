"""The search: a study in Optuna's storage (the truth), the sampler, the budget, the loop."""
