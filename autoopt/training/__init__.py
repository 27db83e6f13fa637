"""Training: the loop, the distillation loss, the optimizers, the teacher and its cached logits."""
