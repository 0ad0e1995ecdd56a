"""What one step of `fit` computes: the loss and its gradients, exact over the target tokens of all replicas."""

from keras_transformer.train_step.token_training import TokenTraining

__all__ = ["TokenTraining"]
