"""Other programs and code bases that run models: one function and one row of ``table.RUNTIMES`` for each.

``checking`` runs a model in them, each in its own process, and compares what they compute with the numpy engine;
``comparison.checking`` finds the first node at which one differs. The function of a runtime loads the model of a
``task.Task``. The process that runs it alone imports its module, and little else, because some of these programs
cannot live together.
"""
