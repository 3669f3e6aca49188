"""Training-data attribution: which training examples a prediction depends on.

Every method gives one score for each pair of a training example (row) and a target (column). A positive score means
that the training example raises the target's output, by default the margin of its true class; removing it would
lower that output.
"""
