"""The search: a study in Optuna's storage (the truth), the sampler, screening, siblings, the budget, the loop."""
