"""The operators of every opset, translated to and from the one that graphs are written in."""
