"""Layers in other code bases: a row a kind, by which its weights are read and written.

``weights`` has their classes, names and axes, ``gates`` the order of the gates of recurrent layers. Nothing here
imports a converter.
"""
