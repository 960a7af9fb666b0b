"""Radar altimetry: simulated echoes of sea, land and ice, and the yardsticks of networks that read them.

``echoes`` has the physics, ``surfaces`` the kinds of echoes, ``tracks`` the sea and the coasts along an orbit, and
``files`` writes them as HDF5. ``bounds``, ``retracking`` and ``smoothing`` say how well echoes can be read at all, and
how well they are read without a network.
"""
