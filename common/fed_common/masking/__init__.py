"""FedSum v1: sites mask their updates so that the coordinator learns the sum and no summand.

Bonawitz et al., "Practical Secure Aggregation for Privacy-Preserving Machine Learning" (2017), with double
masks, for a few hospitals that know each other's identity keys. What is chosen differently, and what is left
out, is in decision 0023.
"""
