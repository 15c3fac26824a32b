"""Import and export of weights and settings of the published simulator, torchvision and timm.

Layout: the keys and shapes of a library's state dict of a network; this package's layout is timm's, with PACT.
Clip: the learned parameter of a PACT. Skeleton: a network on the meta device, with shapes and without values.
Account: what happened to each key of a state dict. Recipe: a YAML file of settings for the command line.
"""
