"""A checker of Bicep in Python, for machines without Microsoft's compiler. What has no known shape passes.

`syntax` reads a file as its declarations, whose values stay nodes of the grammar. A `Shape` is what a value can be:
`resource_types` has those of resources, `checker` finds those of expressions and compares them with what is wanted.
`parameters` is about main.parameters.json, and `mutants` has mistakes for the tests.
"""
