"""The coordinator: asks the sites round by round, folds their answers, signs and publishes the model."""
