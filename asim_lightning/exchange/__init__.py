"""Weights and settings of others, in and out: the published simulator's, torchvision's and timm's."""
